from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from palate.data.benchmarks import Prepared, load_benchmark
from palate.errors import DataError, SettingsError, SplitError
from tests.unit.data.benchmarks.official import Row, comparison, news, tldr, write_jsonl

SMALL = {
    "training": 10,
    "reserved": 15,
    "reference": 5,
    "seen": 3,
    "unseen": 3,
    "min_annotations": 20,
}
WORKERS = {f"w{i}": 60 for i in range(8)} | {"few": 10}


def copy(folder: Path, rows: list[Row]) -> Path:
    half = len(rows) // 2
    write_jsonl(folder / "comparisons" / "train" / "0000.jsonl", rows[:half])
    write_jsonl(folder / "comparisons" / "validation" / "0000.jsonl", rows[half:])
    write_jsonl(folder / "axis" / "validation" / "0000.jsonl", [{"info": {}, "summary": {}}])
    return folder


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return copy(tmp_path / "copy", tldr(WORKERS))


def load(source: Path, seed: int = 0, **options: Any) -> Prepared:
    return load_benchmark("tldr", source=source, seed=seed, options=SMALL | options)


def per_user(prepared: Prepared, rows: Any, users: Any) -> list[int]:
    data = prepared.data
    return np.bincount(data.user[rows], minlength=len(data.user_ids))[users].tolist()


def test_users_and_their_numbers_are_the_protocols(source: Path) -> None:
    prepared = load(source)
    split = prepared.split
    assert split is not None
    assert per_user(prepared, split.train, split.seen) == [10, 10, 10]
    assert per_user(prepared, split.reference, split.unseen) == [5, 5, 5]
    assert min(per_user(prepared, split.evaluation, split.seen)) > 0
    assert min(per_user(prepared, split.evaluation, split.unseen)) > 0
    assert "few" not in prepared.data.user_ids


def test_the_choice_is_the_chosen_summary(source: Path) -> None:
    choices = {(row["worker"], row["summaries"][row["choice"]]["text"]) for row in tldr(WORKERS)}
    data = load(source).data
    for one, user in zip(data, data.user.tolist(), strict=True):
        assert (data.user_ids[user], one.chosen) in choices
        assert (data.user_ids[user], one.rejected) not in choices
        assert str(one.prompt).startswith("SUBREDDIT: r/relationships\n\nTITLE: title ")
        assert str(one.prompt).endswith("\n\nTL;DR:")


def test_no_post_that_is_learned_from_is_evaluated(source: Path) -> None:
    split = load(source).split
    assert split is not None
    assert split.data.group is not None
    learned = split.data.group[np.concatenate([split.train, split.reference])]
    assert not np.intersect1d(learned, split.data.group[split.evaluation]).size


def test_less_training_leaves_users_and_evaluation_as_they_are(source: Path) -> None:
    """VRF compares 100 and 150 training comparisons on one evaluation set."""
    small, large = load(source, training=10), load(source, training=15)
    assert small.split is not None
    assert large.split is not None

    def evaluated(prepared: Prepared) -> set[Any]:
        assert prepared.split is not None
        data = prepared.data.select(prepared.split.evaluation)
        return {(data.user_ids[u], c) for u, c in zip(data.user.tolist(), data, strict=True)}

    def trained(prepared: Prepared) -> set[Any]:
        assert prepared.split is not None
        data = prepared.data.select(prepared.split.train)
        return {(data.user_ids[u], c) for u, c in zip(data.user.tolist(), data, strict=True)}

    assert evaluated(small) == evaluated(large)
    assert trained(small) < trained(large)


def test_seeds_draw_other_users(source: Path) -> None:
    assert load(source, 1).data.digest == load(source, 1).data.digest
    drawn = {tuple(sorted(load(source, seed).data.user_ids)) for seed in range(6)}
    assert len(drawn) > 1


def test_the_order_of_the_rows_does_not_matter(source: Path, tmp_path: Path) -> None:
    turned = load(copy(tmp_path / "turned", tldr(WORKERS)[::-1]))
    assert set(turned.data.user_ids) == set(load(source).data.user_ids)
    assert turned.card.counts["comparisons"] == load(source).card.counts["comparisons"]


def test_what_is_no_comparison_is_left_out_and_counted(tmp_path: Path) -> None:
    same, empty = comparison("w1", 1), comparison("w1", 2)
    same["summaries"][1]["text"] = same["summaries"][0]["text"]
    empty["summaries"][1]["text"] = ""
    rows = tldr(WORKERS) + [news("w0", i) for i in range(7)] + [same, empty]
    card = load(copy(tmp_path, rows)).card
    assert card.left_out["summaries of news articles (CNN/DM)"] == 7
    assert card.left_out["comparisons with an empty text"] == 1
    assert card.left_out["comparisons of a summary with itself"] == 1
    assert card.counts["annotations_read"] == len(rows)


def test_every_row_read_is_used_or_counted(source: Path) -> None:
    card = load(source).card
    assert (
        card.counts["comparisons"] + sum(card.left_out.values())
        == len(tldr(WORKERS)) + (card.left_out["pairs with a text of the other side"])
    )


def test_too_few_workers_are_refused(source: Path) -> None:
    with pytest.raises(SplitError, match="8 workers have 20 comparisons, of whom 6 can be seen"):
        load(source, seen=6)
    with pytest.raises(SplitError, match="is the copy complete"):
        load_benchmark("tldr", source=source)


def spoiled(**changes: Any) -> Row:
    return comparison("w1", 3) | changes


@pytest.mark.parametrize(
    ("row", "field"),
    [
        (spoiled(choice=2), "choice"),
        (spoiled(choice=None), "choice"),
        (spoiled(choice=0.5), "choice"),
        (spoiled(worker=""), "worker"),
        (spoiled(summaries=comparison("w1", 3)["summaries"][:1]), "summaries"),
        (spoiled(summaries="two"), "summaries"),
        (spoiled(info=None), "info"),
        (spoiled(info=comparison("w1", 3)["info"] | {"post": None}), "info.post"),
        (spoiled(summaries=[{"text": 3}, {"text": "b"}]), r"summaries\[0\].text"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, row: Row, field: str) -> None:
    with pytest.raises(DataError, match=rf"row 2, field '{field}'"):
        load(copy(tmp_path, [comparison("w1", 1), comparison("w1", 2), comparison("w1", 4), row]))


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    rows = [{k: v for k, v in row.items() if k != "worker"} for row in tldr({"w1": 4})]
    with pytest.raises(DataError, match=r"field 'worker': column is missing; found info"):
        load(copy(tmp_path, rows))


def test_options_are_checked(source: Path) -> None:
    with pytest.raises(SettingsError, match="more than the 15 reserved"):
        load(source, training=20)
    with pytest.raises(SettingsError, match="unseen is 0"):
        load(source, unseen=0)
    with pytest.raises(SettingsError, match="unknown setting workers"):
        load(source, workers=40)


def test_a_worker_with_few_comparisons_can_be_unseen_but_not_seen(tmp_path: Path) -> None:
    source = copy(tmp_path, tldr({f"w{i}": 60 for i in range(3)} | {f"few{i}": 12 for i in (0, 1)}))
    for seed in range(4):
        split = load(source, seed, seen=3, unseen=2, min_annotations=8).split
        assert split is not None
        assert {split.data.user_ids[user][0] for user in split.seen} == {"w"}
        assert {split.data.user_ids[user][0] for user in split.unseen} == {"f"}
