from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from palate.data import PreferenceData, Split, SplitSettings, make_split
from palate.data.protocols import Use, pref_split, split_by_use
from palate.errors import SplitError


def rows(users: int, prompts: int) -> PreferenceData:
    """Every user about one pair a prompt."""
    return PreferenceData.load(
        [
            {"user_id": f"u{u}", "prompt": f"p{p}", "chosen": f"a{p}", "rejected": f"b{p}"}
            for u in range(users)
            for p in range(prompts)
        ]
    )


def ids(split: Split, users: Any) -> set[str]:
    return {split.data.user_ids[user] for user in users}


def test_the_four_parts_of_pref_divide_users_and_prompts_separately() -> None:
    data = rows(20, 10)
    split = pref_split(data, 0)
    assert split.data is data
    assert (len(split.seen), len(split.unseen)) == (16, 4)
    held_out = np.unique(data.prompt[split.evaluation])
    assert len(held_out) == 2
    validation = split.evaluation[np.isin(data.user[split.evaluation], split.seen)]
    test = split.evaluation[np.isin(data.user[split.evaluation], split.unseen)]
    assert [len(part) for part in (split.train, validation, split.reference, test)] == [
        16 * 8,
        16 * 2,
        4 * 8,
        4 * 2,
    ]
    assert not np.isin(data.prompt[split.train], held_out).any()
    assert not np.isin(data.prompt[split.reference], held_out).any()


def test_pref_keeps_the_groups_of_the_data() -> None:
    data = rows(10, 10)
    grouped = replace(data, group=data.user, group_names=data.user_ids)
    split = pref_split(grouped, 0)
    assert split.data.group_names == data.user_ids
    assert split.settings.kind == "groups"


def test_pref_drops_pairs_of_training_prompts_with_a_text_of_evaluation() -> None:
    """A response to two prompts, one on either side, is in no part but the evaluation."""
    data = PreferenceData.load(
        [
            {"user_id": f"u{u}", "prompt": f"p{p}", "chosen": f"a{p}", "rejected": "no idea"}
            for u in range(10)
            for p in range(10)
        ]
    )
    with pytest.raises(SplitError):  # all training pairs share a text with evaluation
        pref_split(data, 0)


def test_the_seed_decides_and_no_other_order() -> None:
    data = rows(20, 10)
    turned = PreferenceData.load(
        [
            {"user_id": data.user_ids[u], "prompt": c.prompt, "chosen": c.chosen}
            | {"rejected": c.rejected}
            for u, c in list(zip(data.user.tolist(), data, strict=True))[::-1]
        ]
    )
    one, same, other = pref_split(data, 0), pref_split(turned, 0), pref_split(data, 1)
    assert ids(one, one.unseen) == ids(same, same.unseen) != ids(other, other.unseen)


def test_shares_are_those_asked_for() -> None:
    split = pref_split(rows(20, 10), 0, users=0.5, prompts=0.3)
    assert len(split.seen) == 10
    assert len(split.train) == 10 * 3


def used(data: PreferenceData) -> list[Use]:
    """u0 to u2 are seen, the others unseen; prompts from p6 on are evaluated."""
    return [
        "evaluation" if prompt >= 6 else "train" if user < 3 else "reference"
        for user, prompt in zip(data.user.tolist(), data.prompt.tolist(), strict=True)
    ]


def test_rows_come_out_as_their_use_says() -> None:
    data = rows(5, 8)
    split = split_by_use(data, used(data), 0)
    assert (ids(split, split.seen), ids(split, split.unseen)) == ({"u0", "u1", "u2"}, {"u3", "u4"})
    assert (len(split.train), len(split.reference), len(split.evaluation)) == (18, 12, 10)
    assert split.min_comparisons == 6
    assert split.counts["straddling"] == split.counts["users_with_too_few"] == 0


def test_references_are_taken_in_a_random_order_blind_to_the_choice() -> None:
    data = rows(5, 8)
    orders = {tuple(split_by_use(data, used(data), seed).reference) for seed in range(5)}
    assert len(orders) == 5
    turned = replace(
        data,
        chosen=data.rejected,
        rejected=data.chosen,
        chosen_item=data.rejected_item,
        rejected_item=data.chosen_item,
    )
    assert tuple(split_by_use(turned, used(data), 3).reference) == tuple(
        split_by_use(data, used(data), 3).reference
    )


def test_evaluation_with_a_text_that_is_learned_is_left_out_and_counted() -> None:
    data = rows(5, 8)
    use = used(data)
    use[7 - 1] = "train"  # u0 now trains on p6, which the four others are evaluated on
    split = split_by_use(data, use, 0)
    assert split.counts["straddling"] == 4
    assert len(split.evaluation) == 5
    assert not np.intersect1d(data.chosen[split.train], data.chosen[split.evaluation]).size


def test_users_without_evaluation_are_not_evaluated_but_train() -> None:
    data = rows(5, 8)
    use = used(data)
    use[6], use[7] = "train", "train"  # all of u0's
    use[4 * 8 + 6] = use[4 * 8 + 7] = "reference"  # all of u4's, so that nothing is left
    with pytest.raises(SplitError, match="no seen user"):
        split_by_use(data, use, 0)
    keep = np.ones(len(data), dtype=bool)
    keep[[6, 7, 4 * 8 + 6, 4 * 8 + 7]] = False
    split = split_by_use(
        data.select(keep), [u for u, k in zip(used(data), keep, strict=True) if k], 0
    )
    assert (ids(split, split.seen), ids(split, split.unseen)) == ({"u1", "u2"}, {"u3"})
    assert len(split.train) == 18
    assert len(split.reference) == 6
    assert split.counts["of_users_with_too_few"] == 6
    assert split.counts["users_with_too_few"] == 2


def test_a_user_on_both_sides_is_a_fault_of_the_protocol() -> None:
    data = rows(5, 8)
    use = used(data)
    use[0] = "reference"
    with pytest.raises(AssertionError, match="unseen user has comparisons in training"):
        split_by_use(data, use, 0)
    with pytest.raises(ValueError, match="39 uses for 40 comparisons"):
        split_by_use(data, use[1:], 0)


def test_such_a_split_can_be_validated_like_any_other() -> None:
    data = rows(40, 60)
    use: list[Use] = [
        "evaluation" if p >= 40 else "train" if u < 30 else "reference"
        for u, p in zip(data.user.tolist(), data.prompt.tolist(), strict=True)
    ]
    split = split_by_use(data, use, 0)
    inner = split.validation()
    assert inner is not None
    assert ids(inner, inner.unseen) <= ids(split, split.seen)
    assert isinstance(make_split(data, SplitSettings()), Split)
