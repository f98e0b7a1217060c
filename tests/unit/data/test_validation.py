"""Every fault of a value has its file, row, field and advice, and all are listed."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from palate import PreferenceData
from palate.data.table import MAX_FIELD_BYTES
from palate.errors import DataError
from tests.unit.data.formats import TEXTS, Row, comma_separated, jsonl, parquet, turns

LARGEST = "x" * MAX_FIELD_BYTES
THOUSANDS_OF_DIGITS = 10**5000

#: A field, a bad value of it, and what is said of it.
FAULTS: list[tuple[str, Any, str]] = [
    *((field, "", "is empty") for field in ("user_id", "prompt", "chosen", "rejected", "group")),
    ("prompt", " \n\u2003", "is empty"),
    *((field, None, "is missing") for field in ("user_id", "prompt", "chosen", "rejected")),
    ("group", None, "is missing"),
    ("weight", None, "is missing"),
    ("timestamp", None, "is missing"),
    ("prompt", 5, "expected a text or a list of turns, found int"),
    ("chosen", {"role": "user", "content": "x"}, "list of turns, found dict"),
    ("rejected", float("nan"), "list of turns, found float"),
    ("prompt", b"\xff", "not UTF-8"),
    ("prompt", LARGEST + "x", "has 500,001 bytes; at most 500,000"),
    ("chosen", "é" * (MAX_FIELD_BYTES // 2 + 1), "has 500,002 bytes"),
    ("chosen", turns(LARGEST, "and more"), "the conversation has 500,008 bytes"),
    ("prompt", "a\x00b", "NUL"),
    ("prompt", "a\ud83db", "half a surrogate pair at character 1"),
    ("user_id", "\udc80", "half a surrogate pair at character 0"),
    ("prompt", [], "no turn"),
    ("prompt", ["hello"], "a turn is not an object"),
    ("prompt", [{"content": "x"}], "a turn is not an object"),
    ("prompt", [{"role": 1, "content": "x"}], "a turn is not an object"),
    ("prompt", [{"role": "user"}], "a turn's content is NoneType"),
    ("prompt", [{"role": "user", "content": ["x"]}], "a turn's content is list"),
    ("prompt", [{"role": "user", "content": " "}], "the content is empty"),
    ("prompt", [{"role": "", "content": "x"}], "the role is empty"),
    ("user_id", 1.5, "expected a text or a whole number as user id, found float"),
    ("user_id", True, "found bool"),
    ("user_id", b"\xff", "not UTF-8"),
    ("user_id", [1], "found list"),
    ("user_id", THOUSANDS_OF_DIGITS, "thousands of digits"),
    ("group", {}, "expected a text or a whole number as group, found dict"),
    ("weight", math.nan, "the weight is nan; expected a positive, finite number"),
    ("weight", "nan", "the weight is nan"),
    ("weight", math.inf, "the weight is inf"),
    ("weight", "-inf", "the weight is -inf"),
    ("weight", -1, "the weight is -1.0"),
    ("weight", 0, "the weight is 0.0"),
    ("weight", "1,5", "expected a number as weight, found '1,5'"),
    ("weight", "", "expected a number as weight, found ''"),
    ("weight", True, "expected a number as weight, found bool"),
    ("weight", Decimal(1), "expected a number as weight, found Decimal"),
    ("weight", THOUSANDS_OF_DIGITS, "too large"),
    ("timestamp", "yesterday", "expected seconds or a date such as"),
    ("timestamp", "2026-13-01", "found '2026-13-01'"),
    ("timestamp", math.inf, "the timestamp is inf"),
    ("timestamp", False, "expected a number as timestamp, found bool"),
    ("timestamp", [1], "found list"),
    ("tie", True, "a tie is no comparison"),
    ("tie", "yes", "a tie is no comparison"),
    ("tie", 1, "a tie is no comparison"),
]
GOOD: list[tuple[str, Any]] = [
    ("prompt", LARGEST),
    ("weight", "1e-3"),
    ("weight", np.float32(0.5)),
    ("weight", np.int64(2)),
    ("weight", Fraction(1, 2)),
    ("user_id", -3),
    ("group", 4),
    ("timestamp", 0),
    ("tie", False),
    ("tie", None),
    ("tie", 0),
    ("tie", "False"),
    ("prompt", "\ufeff"),
]


def with_value(field: str, value: Any, at: int = 1, rows: list[Row] = TEXTS) -> list[Row]:
    """The rows, one with another value; all have the column."""
    usual = {"weight": 1.0, "timestamp": 1, "group": "g", "tie": False}
    default = {field: usual[field]} if field in usual else {}
    return [row | default | ({field: value} if i == at else {}) for i, row in enumerate(rows)]


def problems_of(source: Any, **options: Any) -> list[str]:
    with pytest.raises(DataError) as error:
        PreferenceData.load(source, **options)
    return [str(problem) for problem in error.value.problems]


@pytest.mark.parametrize(("field", "value", "message"), FAULTS, ids=range(len(FAULTS)))
def test_a_bad_value_is_named_by_row_and_field(field: str, value: Any, message: str) -> None:
    [problem] = problems_of(with_value(field, value))
    assert problem.startswith(f"rows, row 2, field '{field}': ")
    assert message in problem
    assert len(problem) < 200


@pytest.mark.parametrize(("field", "value"), GOOD, ids=range(len(GOOD)))
def test_a_good_value_is_read(field: str, value: Any) -> None:
    assert len(PreferenceData.load(with_value(field, value))) == len(TEXTS)


def test_the_same_text_chosen_and_rejected() -> None:
    rows = [*TEXTS[:1], TEXTS[1] | {"rejected": TEXTS[1]["chosen"]}]
    [problem] = problems_of(rows)
    assert problem == (
        "rows, row 2, field 'rejected': the same text is chosen and rejected; leave the row out"
    )


def test_the_same_conversation_chosen_and_rejected() -> None:
    rows = [TEXTS[0] | {"chosen": turns("a", "b"), "rejected": turns("a", "b")}]
    assert "the same text" in problems_of(rows)[0]


def test_one_empty_row_in_ten_thousand_is_left_out_and_reported() -> None:
    silent = {"user_id": "nobody", "prompt": "none", "chosen": "same", "rejected": "same"}
    data = PreferenceData.load([*TEXTS * 2500, silent])
    assert len(data) == 10_000
    assert data.digest == PreferenceData.load(TEXTS * 2500).digest
    assert [problem.row for problem in data.left_out] == [10_001]
    assert len(problems_of([*TEXTS * 2499, silent])) == 1
    faulty = TEXTS[0] | {"prompt": ""}
    assert len(problems_of([*TEXTS * 2500, faulty])) == 1
    assert len(problems_of([*TEXTS * 6000, silent, faulty])) == 2


@pytest.mark.parametrize(
    "missing",
    [
        ("prompt",),
        ("chosen", "rejected"),
        ("user_id",),
        ("user_id", "prompt", "chosen", "rejected"),
    ],
    ids="+".join,
)
def test_missing_columns_are_all_named(missing: tuple[str, ...]) -> None:
    rows = [{"x": 1} | {k: v for k, v in row.items() if k not in missing} for row in TEXTS]
    problems = problems_of(rows)
    assert sorted(problem.split("'")[1] for problem in problems) == sorted(missing)
    assert all("column is missing; found " in problem for problem in problems)
    assert all("expected the columns user_id (or user), prompt" in problem for problem in problems)


def test_what_is_there_is_checked_although_a_column_is_missing() -> None:
    rows = [{"user_id": "", "prompt": 3, "chosen": "x"}]
    fields = [problem.split("'")[1] for problem in problems_of(rows)]
    assert fields == ["rejected", "user_id", "prompt"]


def test_lines_that_cannot_be_read_are_listed_beside_a_missing_column(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"user": 1, "prompt": "p", "chosen": "c"}\nbroken\n')
    assert [problem.split(": ")[0] for problem in problems_of(path)] == [
        f"{path}, field 'rejected'",
        f"{path}, row 2",
    ]


def test_the_user_column_is_not_asked_for_where_a_name_stands_in() -> None:
    [problem] = problems_of([{"prompt": "a", "chosen": "b"}], user="me")
    assert problem.endswith("found prompt, chosen; expected the columns prompt, chosen, rejected")


def test_of_very_many_columns_some_are_named() -> None:
    [problem] = problems_of([{f"x{i}": 1 for i in range(1000)} | TEXTS[0] | {"prompt": 1}])
    assert "prompt" in problem
    for columns in ({f"x{i}": 1 for i in range(1000)}, {"x" * 10_000: 1}):
        assert len(problems_of([columns])[0]) < 300


def test_all_faults_are_listed_and_the_first_five_shown() -> None:
    rows = [*TEXTS, *({"user_id": "", "prompt": "", "chosen": 1, "rejected": None},) * 2, TEXTS[0]]
    with pytest.raises(DataError) as error:
        PreferenceData.load(rows)
    assert [problem.row for problem in error.value.problems] == [5] * 4 + [6] * 4
    assert str(error.value).count("\n") == 5
    assert str(error.value).endswith("... and 3 more; `palate data check` lists them all")


def test_nothing_at_all() -> None:
    assert problems_of([]) == ["rows: holds no comparison"]
    assert problems_of(pa.table({"prompt": pa.array([], pa.string())})) == [
        "table: holds no comparison"
    ]


@pytest.mark.parametrize("row", [3, None, "text", ["a"], ("prompt", "a")])
def test_a_row_that_is_no_dict(row: Any) -> None:
    [problem] = problems_of([TEXTS[0], row])
    assert problem == f"rows, row 2: expected a dict, found {type(row).__name__}"


# -- where a fault stands, by format --------------------------------------------------------------

BAD = TEXTS[0] | {"prompt": ""}


def row_numbers(path: Path) -> list[int | None]:
    with pytest.raises(DataError) as error:
        PreferenceData.load(path)
    return [problem.row for problem in error.value.problems]


def test_rows_of_parquet_are_counted_through_row_groups(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(parquet([*TEXTS, BAD, *TEXTS, BAD], row_group_size=2))
    assert row_numbers(path) == [5, 10]


def test_rows_of_json_lines_are_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    good, bad = jsonl(TEXTS[:1]), jsonl([BAD])
    path.write_bytes(b"\n \n" + good + bad + b"\r\n" + b'{"broken\n' + b"[1]\n" + bad.rstrip())
    assert row_numbers(path) == [4, 6, 7, 8]


def test_rows_of_csv_are_records_after_the_header(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    lines = comma_separated([*TEXTS, BAD, TEXTS[1]]).split(b"\r\n", 1)
    ragged = b"a,b\r\n"
    unclosed = b'x,y,"z\r\n'
    path.write_bytes(lines[0] + b"\r\n" + ragged + lines[1] + b"\r\n" + ragged + unclosed)
    assert row_numbers(path) == [1, 6, 9, 10]


def test_a_csv_record_with_a_stray_quote_is_one_problem_among_others(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    header, rest = comma_separated([TEXTS[0], BAD]).split(b"\r\n", 1)
    path.write_bytes(header + b'\r\n"a"b,c,d,e\r\n' + rest)
    assert row_numbers(path) == [1, 3]
    data, problems = PreferenceData.inspect(path)
    assert data is not None
    assert len(data) == 1
    assert "check the quotes" in problems[0].message


def test_bytes_that_are_no_utf8_in_parquet_have_their_row(tmp_path: Path) -> None:
    bad = pa.Array.from_buffers(pa.string(), 2, pa.array([b"fine", b"caf\xe9"]).buffers())
    texts = {"user": ["a", "b"], "prompt": ["p", "p"], "rejected": ["x", "y"]}
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({**texts, "chosen": bad}), path)
    assert problems_of(path) == [
        f"{path}, row 2, field 'chosen': the text is not UTF-8; write it as UTF-8"
    ]
    turn = pa.StructArray.from_arrays([pa.array(["user", "user"]), bad], ["role", "content"])
    nested = pa.ListArray.from_arrays([0, 1, 2], turn)
    pq.write_table(pa.table({**texts, "chosen": nested}), path)
    assert problems_of(path) == [
        f"{path}, row 2, field 'chosen': the text is not UTF-8; write it as UTF-8"
    ]
