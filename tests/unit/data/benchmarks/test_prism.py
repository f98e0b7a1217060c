from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from palate.data.benchmarks import Prepared, load_benchmark
from palate.errors import DataError, SettingsError, SplitError
from palate.types import Message
from tests.unit.data.benchmarks.official import Row, conversation, prism, survey, write_jsonl


def copy(folder: Path, rows: list[Row]) -> Path:
    """As on the hub: a file a config."""
    write_jsonl(folder / "utterances.jsonl", rows)
    write_jsonl(folder / "survey.jsonl", [survey("user0")])
    write_jsonl(folder / "metadata.jsonl", [{"column_id": "x"}])
    return folder


def load(source: Path, seed: int = 0, **options: Any) -> Prepared:
    return load_benchmark("prism", source=source, seed=seed, options=options)


def changed(rows: list[Row], where: dict[str, Any], **changes: Any) -> list[Row]:
    hits = [row for row in rows if all(row[key] == value for key, value in where.items())]
    assert hits
    for row in hits:
        row.update(changes)
    return rows


def test_half_the_users_are_seen_and_half_of_the_conversations_learned(tmp_path: Path) -> None:
    prepared = load(copy(tmp_path, prism(10)))
    split, data = prepared.split, prepared.data
    assert split is not None
    assert (len(split.seen), len(split.unseen)) == (5, 5)
    for users, rows in ((split.seen, split.train), (split.unseen, split.reference)):
        of_user = np.bincount(data.user[rows], minlength=10)[users]
        assert (of_user == 4).all()  # two of four conversations, of two turns each
    evaluated = np.bincount(data.user[split.evaluation], minlength=10)
    assert (evaluated == 4).all()


def test_no_conversation_is_on_both_sides(tmp_path: Path) -> None:
    split = load(copy(tmp_path, prism(10))).split
    assert split is not None
    assert split.data.group is not None
    learned = split.data.group[np.concatenate([split.train, split.reference])]
    assert not np.intersect1d(learned, split.data.group[split.evaluation]).size


def test_a_pair_is_best_against_worst_and_the_prompt_all_that_was_said(tmp_path: Path) -> None:
    rows = prism(4)
    changed(rows, {"utterance_id": "ut-cuser0-0-1-1"}, score=95, if_chosen=True)
    changed(rows, {"utterance_id": "ut-cuser0-0-1-0"}, if_chosen=False)
    data = load(copy(tmp_path, rows)).data
    assert data.group is not None
    mine = data.group == data.group_names.index("cuser0-0")
    pairs = {len(one.prompt): one for one in data.select(mine)}
    assert pairs[1].prompt == (Message("user", "question 0 in cuser0-0"),)
    assert pairs[1].chosen == "answer 0 to 0 in cuser0-0"
    assert pairs[1].rejected == "answer 3 to 0 in cuser0-0"
    assert pairs[3].prompt == (
        Message("user", "question 0 in cuser0-0"),
        Message("assistant", "answer 0 to 0 in cuser0-0"),
        Message("user", "question 1 in cuser0-0"),
    )
    assert pairs[3].chosen == "answer 1 to 1 in cuser0-0"
    assert pairs[3].rejected == "answer 0 to 1 in cuser0-0"


def test_of_equal_best_scores_the_response_that_was_chosen_is_taken(tmp_path: Path) -> None:
    rows = changed(prism(4), {"turn": 0, "within_turn_id": 2}, score=90, if_chosen=True)
    changed(rows, {"turn": 0, "within_turn_id": 0}, if_chosen=False)
    assert any(one.chosen == "answer 2 to 0 in cuser0-0" for one in load(copy(tmp_path, rows)).data)


def test_a_tie_is_no_pair(tmp_path: Path) -> None:
    rows = changed(prism(6), {"interaction_id": "int-cuser1-2-0"}, score=50)
    prepared = load(copy(tmp_path, rows))
    assert prepared.card.left_out["interactions with equal highest and lowest score"] == 1
    assert prepared.card.counts["comparisons"] == 6 * 4 * 2 - 1


def test_the_balanced_subset_alone_is_taken_unless_asked_otherwise(tmp_path: Path) -> None:
    rows = prism(6) + [
        row for number in range(3) for row in conversation("other", number, balanced=False)
    ]
    source = copy(tmp_path, rows)
    balanced = load(source)
    assert "other" not in balanced.data.user_ids
    assert balanced.card.left_out["utterances outside of the balanced subset"] == 3 * 6
    assert "other" in load(source, balanced=False).data.user_ids


def test_users_with_one_conversation_are_left_out(tmp_path: Path) -> None:
    prepared = load(copy(tmp_path, prism(4) + conversation("brief", 0)))
    assert "brief" not in prepared.data.user_ids
    assert prepared.card.left_out["pairs of users with one conversation"] == 2


def test_a_shared_text_is_not_evaluated_if_somebody_learns_it(tmp_path: Path) -> None:
    rows = changed(prism(10), {"turn": 1, "within_turn_id": 1}, model_response="I cannot say.")
    prepared = load(copy(tmp_path, rows))
    assert prepared.card.left_out["pairs with a text of the other side"] == 20
    assert prepared.split is not None
    evaluated = prepared.data.select(prepared.split.evaluation)
    assert all(one.rejected != "I cannot say." for one in evaluated)


def test_what_follows_a_turn_without_one_chosen_response_is_left_out(tmp_path: Path) -> None:
    rows = changed(prism(4), {"interaction_id": "int-cuser0-0-0"}, if_chosen=False)
    changed(rows, {"interaction_id": "int-cuser1-0-0"}, if_chosen=True)
    card = load(copy(tmp_path, rows)).card
    assert card.left_out["interactions after a turn without one chosen response"] == 2


def test_one_text_twice_and_empty_responses_give_no_pair(tmp_path: Path) -> None:
    rows = changed(prism(4), {"interaction_id": "int-cuser0-0-1"}, model_response="same")
    changed(rows, {"utterance_id": "ut-cuser1-0-1-1"}, model_response=" ")
    left_out = load(copy(tmp_path, rows)).card.left_out
    assert left_out["interactions whose best and worst response are one text"] == 1
    assert left_out["responses that are empty"] == 1
    assert left_out["interactions with fewer than two usable responses"] == 1


@pytest.mark.parametrize("text", ["['one answer', 'another']", '["one answer", "another"]'])
def test_lists_written_as_text_are_refused(tmp_path: Path, text: str) -> None:
    """A public preparation has them for every rejected response."""
    rows = changed(prism(4), {"within_turn_id": 3}, model_response=text)
    with pytest.raises(DataError, match=r"row 4, field 'model_response': a list of texts"):
        load(copy(tmp_path, rows))


def test_a_rare_answer_that_is_a_list_is_left_out(tmp_path: Path) -> None:
    rows = prism(50)
    changed(rows, {"utterance_id": "ut-cuser0-0-0-3"}, model_response="['red', 'green']")
    prepared = load(copy(tmp_path, rows))
    assert prepared.card.left_out["responses that are a list written as text"] == 1
    assert any(one.rejected == "answer 2 to 0 in cuser0-0" for one in prepared.data)


def test_the_seed_decides_who_is_seen(tmp_path: Path) -> None:
    source = copy(tmp_path, prism(10))

    def seen(seed: int) -> tuple[str, ...]:
        split = load(source, seed).split
        assert split is not None
        return tuple(split.data.user_ids[u] for u in split.seen)

    assert seen(1) == seen(1)
    assert len({seen(seed) for seed in range(5)}) > 1


def test_the_order_of_the_rows_does_not_matter(tmp_path: Path) -> None:
    one = load(copy(tmp_path / "a", prism(6)))
    other = load(copy(tmp_path / "b", prism(6)[::-1]))
    assert one.data.digest == other.data.digest


@pytest.mark.parametrize(
    ("field", "bad"),
    [
        ("score", float("nan")),
        ("score", 0),
        ("score", 101),
        ("score", None),
        ("score", "90"),
        ("turn", -1),
        ("turn", 0.5),
        ("if_chosen", 1),
        ("included_in_balanced_subset", "yes"),
        ("model_response", ["one", "two"]),
        ("user_prompt", None),
        ("user_id", ""),
    ],
)
def test_a_bad_value_is_named(tmp_path: Path, field: str, bad: object) -> None:
    rows = prism(2)
    rows[6][field] = bad
    with pytest.raises(DataError, match=rf"row 7, field '{field}'"):
        load(copy(tmp_path, rows))


def test_rows_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    rows = prism(2)
    rows[1]["user_prompt"] = "something else"
    with pytest.raises(DataError, match="row 2, field 'interaction_id'"):
        load(copy(tmp_path / "a", rows))
    rows = prism(2)
    rows[2]["user_id"] = "user1"
    with pytest.raises(DataError, match="row 3, field 'user_id': the conversation 'cuser0-0'"):
        load(copy(tmp_path / "b", rows))


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    rows = [{k: v for k, v in row.items() if k != "score"} for row in prism(2)]
    with pytest.raises(DataError, match="field 'score': column is missing"):
        load(copy(tmp_path, rows))


def test_one_user_is_too_few(tmp_path: Path) -> None:
    with pytest.raises(SplitError, match="1 users have pairs in two conversations"):
        load(copy(tmp_path, prism(1)))


def test_options_are_checked(tmp_path: Path) -> None:
    source = copy(tmp_path, prism(4))
    with pytest.raises(SettingsError, match="seen is 1"):
        load(source, seen=1.0)
    with pytest.raises(SettingsError, match="unknown setting subset"):
        load(source, subset="all")
