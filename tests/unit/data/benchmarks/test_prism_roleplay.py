from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from palate.data.benchmarks import Prepared, load_benchmark
from palate.errors import DataError, SettingsError
from tests.unit.data.benchmarks.official import Row, judgements, write_jsonl, write_parquet


def load(path: Path, rows: list[Row], seed: int = 0, **options: Any) -> Prepared:
    source = write_jsonl(path / "judgements.jsonl", rows)
    return load_benchmark("prism-roleplay", source=source, seed=seed, options=options)


def test_users_and_prompts_are_divided_80_to_20(tmp_path: Path) -> None:
    prepared = load(tmp_path, judgements(20, 30))
    split, data = prepared.split, prepared.data
    assert split is not None
    assert (len(split.seen), len(split.unseen)) == (16, 4)
    assert (len(split.train), len(split.reference)) == (16 * 24, 4 * 24)
    assert len(split.evaluation) == 20 * 6
    learned = data.prompt[np.concatenate([split.train, split.reference])]
    assert not np.intersect1d(learned, data.prompt[split.evaluation]).size
    assert set(data.prompt[split.train]) == set(data.prompt[split.reference])


def test_the_orders_are_averaged_and_a_contradiction_is_no_comparison(tmp_path: Path) -> None:
    rows = judgements(20, 30)
    for row, a_first, b_first in (
        (rows[0], 1.0, 0.0),  # always the first one shown
        (rows[1], 0.9, 0.4),
        (rows[2], 0.5, 0.5),
        (rows[3], 1.0, 0.5),  # prefers A where it prefers anything
        (rows[4], 0.3, 0.5),
        (rows[5], None, 1.0),
    ):
        row |= {"a_first": a_first, "b_first": b_first}
    prepared = load(tmp_path, rows)
    assert prepared.card.left_out["judgements that change with the order"] == 2
    assert prepared.card.left_out["judgements without a preference"] == 1
    assert prepared.card.left_out["judgements that could not be read"] == 1
    assert len(prepared.data) == 600 - 4
    data = prepared.data
    mine = {one.prompt: one.chosen for one in data.select(data.user == 0)}
    assert mine["prompt 3"] == "a of 3"
    assert mine["prompt 4"] == "b of 4"


def test_a_preference_says_the_same_as_both_orders(tmp_path: Path) -> None:
    rows = judgements(20, 30)
    averaged = [
        {k: v for k, v in row.items() if "first" not in k} | {"preference": row["a_first"]}
        for row in rows
    ]
    source = write_parquet(tmp_path / "j.parquet", averaged)
    one = load_benchmark("prism-roleplay", source=source)
    assert one.data.digest == load(tmp_path, rows).data.digest


def test_the_shares_can_be_set(tmp_path: Path) -> None:
    split = load(tmp_path, judgements(20, 30), users=0.5, prompts=0.5).split
    assert split is not None
    assert len(split.seen) == 10
    assert len(split.train) == 10 * 15


@pytest.mark.parametrize("bad", [1.5, -0.1, float("nan"), "A", True])
def test_a_preference_outside_of_0_to_1_is_named(tmp_path: Path, bad: object) -> None:
    rows = judgements(2, 2)
    rows[2]["b_first"] = bad
    with pytest.raises(DataError, match="row 3, field 'b_first'"):
        load(tmp_path, rows)


def test_a_user_who_judges_a_pair_twice_is_refused(tmp_path: Path) -> None:
    rows = judgements(2, 2)
    again = rows[0] | {"response_a": rows[0]["response_b"], "response_b": rows[0]["response_a"]}
    with pytest.raises(DataError, match="row 5, field 'user_id': judged this pair in row 1"):
        load(tmp_path, [*rows, again])


def test_missing_columns_and_empty_texts_are_named(tmp_path: Path) -> None:
    rows = judgements(2, 2)
    with pytest.raises(DataError, match="field 'b_first': column is missing"):
        load(tmp_path, [{k: v for k, v in row.items() if k != "b_first"} for row in rows])
    rows[1]["response_b"] = " "
    with pytest.raises(DataError, match="row 2, field 'response_b': the text is empty"):
        load(tmp_path, rows)


def test_no_comparison_at_all_is_refused(tmp_path: Path) -> None:
    rows = [row | {"a_first": 0.5, "b_first": 0.5} for row in judgements(2, 2)]
    with pytest.raises(DataError, match="no comparison is left"):
        load(tmp_path, rows)


def test_it_needs_a_source_and_known_options(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="give a file of judgements"):
        load_benchmark("prism-roleplay")
    with pytest.raises(SettingsError, match="users is 0"):
        load(tmp_path, judgements(4, 4), users=0.0)
