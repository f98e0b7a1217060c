"""A split is disjoint, complete, the same everywhere, and decided by nothing but its seed."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from palate import PreferenceData
from palate.data.comparisons import IntArray
from palate.data.splits import (
    LARGEST_COMPONENT,
    Split,
    SplitSettings,
    describe,
    divide_new,
    hash_order,
    make_split,
)
from palate.errors import SettingsError, SplitError
from tests.unit.data.formats import Row


def random_rows(users: int, each: int, prompts: int, responses: int, seed: int) -> list[Row]:
    """Comparisons within prompts; a group is two prompts. Small prompts are small components."""
    generator = np.random.default_rng(seed)
    rows = []
    for user in np.repeat(np.arange(users), each):
        number = generator.integers(prompts)
        one, two = generator.choice(responses, size=2, replace=False)
        texts = {"chosen": f"{number}.{one}", "rejected": f"{number}.{two}"}
        row = {"user_id": f"u{user}", "prompt": f"p{number}", "group": f"g{number // 2}"}
        rows.append(row | texts)
    return rows


#: Few users and texts in components of 2 to 25 texts, small ones and large ones.
worlds = st.builds(
    random_rows,
    users=st.integers(2, 9),
    each=st.integers(3, 25),
    prompts=st.integers(1, 8),
    responses=st.integers(2, 25),
    seed=st.integers(0, 10**6),
)
any_settings = st.builds(
    SplitSettings,
    kind=st.sampled_from(["users", "groups"]),
    seed=st.integers(0, 99),
    seen=st.sampled_from([0.2, 0.5, 0.75]),
    training=st.sampled_from([0.3, 0.65, 0.8]),
    min_comparisons=st.sampled_from([None, 1, 3]),
)


def divide(rows: list[Row], chosen: SplitSettings) -> Split:
    """The split, or an example that hypothesis leaves out."""
    try:
        return make_split(PreferenceData.load(rows), chosen)
    except SplitError:
        assume(False)
        raise


def texts(data: PreferenceData, rows: IntArray) -> set[Any]:
    chosen = {data.responses[i] for i in data.chosen[rows]}
    return chosen | {data.responses[i] for i in data.rejected[rows]}


def users(data: PreferenceData, rows: IntArray) -> set[str]:
    return {data.user_ids[i] for i in data.user[rows]}


def content(data: PreferenceData, rows: IntArray) -> list[tuple[str, ...]]:
    """Rows as what they say."""
    return [
        (data.user_ids[u], str(data.prompts[p]), str(data.responses[c]), str(data.responses[r]))
        for u, p, c, r in zip(
            data.user[rows], data.prompt[rows], data.chosen[rows], data.rejected[rows], strict=True
        )
    ]


def components(data: PreferenceData) -> dict[str, set[str]]:
    """The texts that each text is connected with, by following comparisons one by one."""
    together: dict[str, set[str]] = {}
    for comparison in data:
        one, two = str(comparison.chosen), str(comparison.rejected)
        merged = together.get(one, {one}) | together.get(two, {two})
        together |= dict.fromkeys(merged, merged)
    return together


@given(worlds, any_settings)
@settings(max_examples=200)
def test_texts_and_users_are_disjoint(rows: list[Row], chosen: SplitSettings) -> None:
    split = divide(rows, chosen)
    data = split.data
    learned = np.concatenate([split.train, split.reference])
    assert not texts(data, learned) & texts(data, split.evaluation)
    seen, unseen = ({data.user_ids[i] for i in part} for part in (split.seen, split.unseen))
    assert seen
    assert unseen
    assert not seen & unseen
    assert not users(data, split.train) & unseen
    assert users(data, split.reference) == unseen
    assert users(data, split.evaluation) == seen | unseen


@given(worlds, any_settings)
@settings(max_examples=200)
def test_every_row_and_every_user_is_accounted_for(rows: list[Row], chosen: SplitSettings) -> None:
    split = divide(rows, chosen)
    counts = split.counts
    uses = ("train", "reference", "evaluation", "straddling", "of_users_with_too_few")
    assert sum(counts[use] for use in uses) == len(rows)
    for use in ("train", "reference", "evaluation"):
        assert counts[use] == len(getattr(split, use))
    used = np.concatenate([split.train, split.reference, split.evaluation])
    assert len(np.unique(used)) == len(used)
    assert counts["users"] == len({row["user_id"] for row in rows})
    evaluated = len(split.seen) + len(split.unseen)
    assert counts["users_with_too_few"] == counts["users"] - evaluated
    summary = describe(split)
    assert counts.items() <= summary.items()
    assert (summary["seen_users"], summary["unseen_users"]) == (len(split.seen), len(split.unseen))


@given(worlds, any_settings)
@settings(max_examples=150)
def test_evaluated_users_have_enough_comparisons(rows: list[Row], chosen: SplitSettings) -> None:
    split = divide(rows, chosen)
    user = split.data.user
    trained = Counter(user[np.concatenate([split.train, split.reference])].tolist())
    evaluated = Counter(user[split.evaluation].tolist())
    for one in [*split.seen, *split.unseen]:
        assert trained[one] >= split.min_comparisons
        assert evaluated[one] >= 1
    if chosen.min_comparisons is None:
        assert split.min_comparisons in (20, 10, 5, 2)
    else:
        assert split.min_comparisons == chosen.min_comparisons


@given(worlds, any_settings)
@settings(max_examples=200)
def test_nobody_with_enough_comparisons_is_left_out(rows: list[Row], chosen: SplitSettings) -> None:
    split = divide(rows, chosen)
    user = split.data.user
    assume(split.counts["straddling"] == 0)  # then rows of no use are those of such users
    learned = np.concatenate([split.train, split.reference])
    left = np.setdiff1d(np.arange(len(rows)), np.concatenate([learned, split.evaluation]))
    assert len(left) == split.counts["of_users_with_too_few"]
    trained = Counter(user[learned].tolist())
    for one in set(user[left].tolist()):
        assert trained[one] < split.min_comparisons


@given(worlds, st.integers(0, 99))
@settings(max_examples=150)
def test_small_components_never_straddle(rows: list[Row], seed: int) -> None:
    split = divide(rows, SplitSettings(seed=seed, min_comparisons=1))
    data = split.data
    held_out = texts(data, split.evaluation)
    learned = texts(data, np.concatenate([split.train, split.reference]))
    sizes = set()
    for component in components(data).values():
        sizes.add(len(component))
        if len(component) <= LARGEST_COMPONENT:
            assert not (component & held_out and component & learned)
    if max(sizes) <= LARGEST_COMPONENT:
        assert split.counts["straddling"] == 0


@given(worlds, any_settings)
@settings(max_examples=100)
def test_the_same_seed_gives_the_same_split(rows: list[Row], chosen: SplitSettings) -> None:
    one, two = divide(rows, chosen), divide(rows, chosen)
    for use in ("train", "reference", "evaluation", "seen", "unseen"):
        np.testing.assert_array_equal(getattr(one, use), getattr(two, use))


@given(worlds, any_settings, st.randoms(use_true_random=False))
@settings(max_examples=150)
def test_the_order_of_rows_does_not_matter(
    rows: list[Row], chosen: SplitSettings, random: Any
) -> None:
    shuffled = random.sample(rows, len(rows))
    one, two = divide(rows, chosen), divide(shuffled, chosen)
    assert one.counts == two.counts
    assert one.min_comparisons == two.min_comparisons
    for use in ("train", "reference", "evaluation"):
        parts = [sorted(content(split.data, getattr(split, use))) for split in (one, two)]
        assert parts[0] == parts[1]
    for side in ("seen", "unseen"):
        names = [{s.data.user_ids[i] for i in getattr(s, side)} for s in (one, two)]
        assert names[0] == names[1]


@given(worlds, any_settings)
@settings(max_examples=100)
def test_which_response_was_chosen_does_not_matter(rows: list[Row], chosen: SplitSettings) -> None:
    """No label reaches the division: neither sides nor the order of references."""
    swapped = [row | {"chosen": row["rejected"], "rejected": row["chosen"]} for row in rows]
    one, two = divide(rows, chosen), divide(swapped, chosen)
    np.testing.assert_array_equal(one.train, two.train)
    np.testing.assert_array_equal(one.evaluation, two.evaluation)
    np.testing.assert_array_equal(one.reference, two.reference)


@given(worlds, any_settings)
@settings(max_examples=100)
def test_groups_are_never_on_both_sides(rows: list[Row], chosen: SplitSettings) -> None:
    split = divide(rows, replace(chosen, kind="groups"))
    group = split.data.group
    assert group is not None
    learned = group[np.concatenate([split.train, split.reference])]
    assert not np.intersect1d(learned, group[split.evaluation]).size


@given(worlds, any_settings)
@settings(max_examples=150)
def test_validation_is_made_of_training_rows_alone(rows: list[Row], chosen: SplitSettings) -> None:
    split = divide(rows, chosen)
    inner = split.validation()
    assume(inner is not None)
    assert inner is not None
    learned = Counter(content(split.data, split.train))
    every = np.arange(len(inner.data))
    assert Counter(content(inner.data, every)) == learned
    for use in ("train", "reference", "evaluation"):
        assert Counter(content(inner.data, getattr(inner, use))) <= learned
    assert not texts(inner.data, every) & texts(split.data, split.evaluation)
    assert not users(inner.data, every) & {split.data.user_ids[i] for i in split.unseen}
    np.testing.assert_array_equal(inner.data.items, split.data.items)


def test_validation_is_none_where_there_are_too_few() -> None:
    split = make_split(PreferenceData.load(random_rows(4, 12, 6, 2, 0)), SplitSettings(seed=1))
    few = replace(split, train=split.train[:1])
    assert few.validation() is None


def test_different_seeds_give_different_splits() -> None:
    data = PreferenceData.load(random_rows(12, 30, 20, 5, 0))
    splits = [make_split(data, SplitSettings(seed=seed)) for seed in range(8)]
    assert len({tuple(split.unseen) for split in splits}) == 8
    assert len({frozenset(texts(data, split.evaluation)) for split in splits}) == 8
    grouped = [make_split(data, SplitSettings("groups", seed)) for seed in range(8)]
    assert len({frozenset(texts(data, split.evaluation)) for split in grouped}) > 4


def test_shares_are_those_of_the_settings() -> None:
    data = PreferenceData.load(random_rows(40, 60, 200, 5, 0))
    for seen, training in ((0.5, 0.65), (0.25, 0.8)):
        split = make_split(data, SplitSettings(seen=seen, training=training))
        assert len(split.seen) == round(seen * 40)
        learned = texts(data, np.concatenate([split.train, split.reference]))
        assert len(learned) / 1000 == pytest.approx(training, abs=0.02)
        assert split.counts["straddling"] == 0


def test_a_large_component_is_divided_text_by_text() -> None:
    data = PreferenceData.load(random_rows(6, 100, 1, 60, 0))
    split = make_split(data, SplitSettings())
    assert 18 < len(texts(data, split.evaluation)) <= 21
    assert split.counts["straddling"] > 100


@pytest.mark.parametrize(("size", "divided"), [(LARGEST_COMPONENT, 0), (LARGEST_COMPONENT + 1, 1)])
def test_the_largest_component_that_moves_together(size: int, divided: int) -> None:
    data = PreferenceData.load(random_rows(6, 60, 6, size, 0))
    assert max(map(len, components(data).values())) == size
    split = make_split(data, SplitSettings(min_comparisons=1))
    assert bool(split.counts["straddling"]) == bool(divided)


# -- the ladder -----------------------------------------------------------------------------------


def rows_of_own_texts(counts: list[int]) -> list[Row]:
    """Users with so many comparisons, each of two texts of its own: 65% of them train."""
    return [
        {"user_id": f"u{user}", "prompt": "p", "chosen": f"{user}.{i}a", "rejected": f"{user}.{i}b"}
        for user, count in enumerate(counts)
        for i in range(count)
    ]


LADDER: dict[str, tuple[list[int], int, int]] = {
    "all have many": ([60] * 10, 20, 10),
    "all have some": ([22] * 10, 10, 10),
    "all have few": ([11] * 10, 5, 10),
    "all have very few": ([6] * 10, 2, 10),
    "half of them is enough": ([60] * 5 + [6] * 5, 20, 5),
    "less than half is not": ([60] * 4 + [5] * 6, 2, 10),
    "forty are enough": ([60] * 40 + [6] * 60, 20, 40),
    "less than forty are not": ([60] * 39 + [18] * 61, 10, 100),
}


@pytest.mark.parametrize(("counts", "minimum", "evaluated"), LADDER.values(), ids=LADDER.keys())
def test_the_ladder_of_least_comparisons(counts: list[int], minimum: int, evaluated: int) -> None:
    split = make_split(PreferenceData.load(rows_of_own_texts(counts)), SplitSettings())
    assert split.min_comparisons == minimum
    found = len(split.seen) + len(split.unseen)
    assert evaluated * 0.75 <= found <= evaluated
    assert split.counts["users_with_too_few"] == len(counts) - found


def test_users_with_too_few_train_and_are_not_evaluated() -> None:
    data = PreferenceData.load(rows_of_own_texts([60] * 6 + [6] * 3))
    split = make_split(data, SplitSettings())
    few = {"u6", "u7", "u8"}
    assert few <= users(data, split.train)
    assert not few & users(data, split.evaluation)
    assert split.counts["of_users_with_too_few"] > 0


# -- refusals -------------------------------------------------------------------------------------

ONE_USER = [row | {"user_id": "ann"} for row in random_rows(3, 20, 5, 4, 0)]
NO_GROUPS = rows_of_own_texts([20] * 4)
ONE_GROUP = [row | {"group": "g"} for row in NO_GROUPS]
REFUSED: dict[str, tuple[list[Row], SplitSettings, str]] = {
    "one user": (ONE_USER, SplitSettings(), "field 'user_id': one user only"),
    "no group column": (NO_GROUPS, SplitSettings("groups"), "field 'group': column is missing"),
    "one group": (ONE_GROUP, SplitSettings("groups"), "field 'group': one group only"),
    "one comparison each": (
        rows_of_own_texts([1] * 9),
        SplitSettings(),
        "no unseen users possible",
    ),
    "too few": (
        rows_of_own_texts([20] * 4),
        SplitSettings(min_comparisons=21),
        "0 of the 4 users have 21 comparisons on training texts",
    ),
    "one pair of texts": (random_rows(5, 20, 1, 2, 0), SplitSettings(), "no unseen users"),
}


@pytest.mark.parametrize(("rows", "chosen", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_divided_is_refused(
    rows: list[Row], chosen: SplitSettings, message: str
) -> None:
    with pytest.raises(SplitError) as error:
        make_split(PreferenceData.load(rows), chosen)
    assert message in str(error.value)
    assert str(error.value).startswith("rows, field ")


@pytest.mark.parametrize(
    "values",
    [
        {"kind": "texts"},
        {"seen": 0},
        {"seen": 1.0},
        {"training": -0.1},
        {"training": float("nan")},
        {"min_comparisons": 0},
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=next(iter(values))):
        SplitSettings(**values)


@pytest.fixture(scope="module")
def whole() -> Split:
    return make_split(PreferenceData.load(random_rows(6, 30, 10, 4, 0)), SplitSettings())


def test_a_split_that_leaks_cannot_be_made(whole: Split) -> None:
    leaks = {
        "text of evaluation": {"train": np.append(whole.train, whole.evaluation[:1])},
        "unseen user has": {"unseen": np.append(whole.unseen, whole.seen[:1])},
        "not an unseen user's": {"reference": np.append(whole.reference, whole.train[:1])},
        "two uses": {"train": np.append(whole.train, whole.train[:1])},
    }
    for message, change in leaks.items():
        with pytest.raises(AssertionError, match=message):
            replace(whole, **change)


# -- the order of names ---------------------------------------------------------------------------


def test_the_order_is_of_names_and_not_of_places() -> None:
    names = [f"name {i}" for i in range(50)]
    order = [names[i] for i in hash_order(3, "users", names)]
    backwards = names[::-1]
    assert [backwards[i] for i in hash_order(3, "users", backwards)] == order
    assert sorted(order) == sorted(names)
    assert order != [names[i] for i in hash_order(4, "users", names)]
    assert order != [names[i] for i in hash_order(3, "texts", names)]


def test_new_names_leave_the_order_of_the_others() -> None:
    names = [f"name {i}" for i in range(20)]
    order = [names[i] for i in hash_order(0, "users", names)]
    more = [*names, "another", "and another"]
    assert [more[i] for i in hash_order(0, "users", more) if more[i] in names] == order


# -- data that a model was not trained on ---------------------------------------------------------


@given(worlds, any_settings, st.integers(0, 2**20), st.integers(0, 2**9))
@settings(max_examples=150)
def test_new_data_is_divided_without_known_texts(
    rows: list[Row], chosen: SplitSettings, text_bits: int, user_bits: int
) -> None:
    data = PreferenceData.load(rows)
    known_text = np.array([text_bits >> (i % 20) & 1 for i in range(len(data.responses))], bool)
    known_user = np.array([user_bits >> i & 1 for i in range(len(data.user_ids))], bool)
    try:
        new = divide_new(data, known_text, known_user, chosen)
    except SplitError:
        assume(False)
        raise
    for evaluated in (new.evaluation, new.evaluation_of_seen):
        assert not known_text[data.chosen[evaluated]].any()
        assert not known_text[data.rejected[evaluated]].any()
    assert not texts(data, new.evaluation) & texts(data, new.reference)
    assert known_user[new.seen].all()
    assert not known_user[new.unseen].any()
    assert not known_user[data.user[new.reference]].any()
    assert users(data, new.evaluation_of_seen) == {data.user_ids[i] for i in new.seen}
    assert users(data, new.evaluation) == {data.user_ids[i] for i in new.unseen}


# -- a split written down -------------------------------------------------------------------------

#: What became of each row, and the first references; another machine or version that divides
#: otherwise fails here. T train, R reference, E evaluation, - not used.
GOLDEN: dict[str, tuple[str, list[int], list[str]]] = {
    "users": (
        "RTETETRET-TTERRTRETTRRERTTTERTRTET-RTET-TRETRTTERR"
        "TRETTRRERTTTER-RTET-RTET-TRETETTER-TRET-RRERETTER-",
        [23, 55, 65, 28, 91, 51],
        ["user 0", "user 2", "user 6"],
    ),
    "groups": (
        "RTEETTREERTTEERTREETRR-ETTTEETRTE-RRTEETTREERTTEER"
        "TREETRREETTTEETRTEERRTEETTR-ERTTEERTRE-TRREETTTEET",
        [55, 65, 91, 51, 41, 56],
        ["user 0", "user 2", "user 6"],
    ),
}


@pytest.mark.parametrize("kind", ["users", "groups"])
def test_a_split_that_is_written_down(kind: Any) -> None:
    data = PreferenceData.load(rows_by_rule())
    assert {len(component) for component in components(data).values()} == {4, 18}
    split = make_split(data, SplitSettings(kind, seed=7, min_comparisons=2))
    uses = np.full(len(data), "-")
    for use in ("train", "reference", "evaluation"):
        uses[getattr(split, use)] = use[0].upper()
    unseen = [data.user_ids[i] for i in split.unseen]
    assert ("".join(uses), split.reference[:6].tolist(), unseen) == GOLDEN[kind]


def rows_by_rule() -> list[Row]:
    """By arithmetic alone, so that no generator can change it; one component is a large one."""
    rows = []
    for i in range(100):
        number, turn = i % 5, i // 5
        size = 18 if number == 4 else 4
        texts = {"chosen": f"{number}.{turn % size}", "rejected": f"{number}.{(turn + 1) % size}"}
        row = {
            "user_id": f"user {i % 7}",
            "prompt": f"prompt {number}",
            "group": f"{number // 2 if i % 11 else 2}",
        }
        rows.append(row | texts)
    return rows
