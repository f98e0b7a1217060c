"""Pools from files: what is a pair, and what every other row is told."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from palate.errors import DataError
from palate.questions.pool import read_pool
from palate.types import Comparison, Message

PAIR = {"prompt": "why?", "response_a": "so", "response_b": "thus"}
READ = Comparison("why?", "so", "thus")


def written(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_both_forms_of_a_pair_are_read(tmp_path: Path) -> None:
    comparison = {"prompt": "why?", "chosen": "so", "rejected": "thus", "other": 1}
    assert read_pool(written(tmp_path / "pool.jsonl", PAIR, comparison)) == [READ, READ]


def test_conversations_are_pairs_too(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "why?"}]
    (pair,) = read_pool(written(tmp_path / "pool.jsonl", PAIR | {"prompt": turns}))
    assert pair.prompt == (Message("user", "why?"),)


def test_other_kinds_of_files_hold_comparisons(tmp_path: Path) -> None:
    path = tmp_path / "pool.csv"
    path.write_text("prompt,chosen,rejected\nwhy?,so,thus\n")
    assert read_pool(path) == [READ]
    zipped = tmp_path / "pool.jsonl.gz"
    zipped.write_bytes(gzip.compress(json.dumps(PAIR).encode()))
    assert read_pool(zipped) == [READ]


@pytest.mark.parametrize(
    ("row", "field", "message"),
    [
        ({"prompt": "why?"}, "response_a", "no pair; expected response_a and response_b"),
        (PAIR | {"response_b": "so"}, "response_b", "the same text twice"),
        ({"prompt": "why?", "response_a": "so"}, "response_b", "missing"),
        (PAIR | {"prompt": 3}, "prompt", "expected a text"),
        (PAIR | {"response_a": None}, "response_a", "missing"),
        ([1, 2], None, "expected an object"),
    ],
)
def test_a_row_that_is_no_pair_is_named(
    tmp_path: Path, row: Any, field: str | None, message: str
) -> None:
    path = written(tmp_path / "pool.jsonl", PAIR, row)
    with pytest.raises(DataError, match=message) as caught:
        read_pool(path)
    (problem,) = caught.value.problems
    assert (problem.file, problem.row, problem.field) == (str(path), 2, field)


def test_a_pool_without_pairs_or_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no pair"):
        read_pool(written(tmp_path / "pool.jsonl"))
    with pytest.raises(DataError, match="cannot be read"):
        read_pool(tmp_path / "none.jsonl")
    broken = tmp_path / "broken.jsonl"
    broken.write_bytes(b'{"prompt": "\xff"}\n')
    with pytest.raises(DataError, match="not UTF-8"):
        read_pool(broken)
