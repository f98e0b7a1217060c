"""Raw columns of a source, before anything is made of them; the same whatever the source."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from palate.data.comparisons import IntArray
from palate.errors import DataError, Problem

#: The columns that are read. Of the users' names the first that is there is taken.
TEXT_COLUMNS = ("prompt", "chosen", "rejected")
USER_COLUMNS = ("user_id", "user")
OPTIONAL_COLUMNS = ("group", "weight", "timestamp", "tie")
#: Longest field read, in bytes of UTF-8. A longer one is no answer of a language model.
MAX_FIELD_BYTES = 500_000


@dataclass(frozen=True)
class Column:
    """A column by its distinct raw values: row i holds values[codes[i]]; a null is None."""

    values: list[Any]
    codes: IntArray


@dataclass(frozen=True)
class Table:
    """The columns of a source that are read, and the names of the others.

    rows: the number of each row as its file counts, from 1. problems: of rows that are not here.
    """

    name: str
    columns: dict[str, Column]
    other_columns: tuple[str, ...]
    rows: IntArray
    problems: list[Problem]


def read_columns(names: Sequence[str]) -> list[str]:
    """Which of a source's columns are read."""
    user = [name for name in USER_COLUMNS if name in names][:1]
    return user + [name for name in (*TEXT_COLUMNS, *OPTIONAL_COLUMNS) if name in names]


def refuse_twins(name: str, names: Sequence[str]) -> None:
    """Raise `DataError` where a column that is read stands twice."""
    twins = [column for column in read_columns(names) if list(names).count(column) > 1]
    if twins:
        raise DataError([Problem(name, None, twin, "column stands twice") for twin in twins])


def table_of_records(
    name: str,
    records: Sequence[Any],
    rows: Sequence[int],
    problems: Sequence[Problem] = (),
    header: Sequence[str] = (),
) -> Table:
    """The columns of rows that are dicts, numbered by `rows`."""
    misfits = [
        Problem(name, row, None, f"expected a dict, found {type(record).__name__}")
        for row, record in zip(rows, records, strict=True)
        if not isinstance(record, dict)
    ]
    if misfits:
        raise DataError(misfits)
    names = list(dict.fromkeys([*header, *(key for record in records for key in record)]))
    columns = {
        key: encode_values([record.get(key) for record in records]) for key in read_columns(names)
    }
    others = tuple(str(other) for other in names if other not in columns)
    return Table(name, columns, others, np.array(rows, dtype=np.int64), list(problems))


def encode_values(raw: Sequence[Any]) -> Column:
    """Give every distinct value a number; nested values are compared by their content."""
    numbers: dict[Any, int] = {}
    values: list[Any] = []
    codes = np.empty(len(raw), dtype=np.int64)
    for i, value in enumerate(raw):
        key = (type(value), value) if isinstance(value, str | int | float) else _nested_key(value)
        code = numbers.setdefault(key, len(values))
        if code == len(values):
            values.append(value)
        codes[i] = code
    return Column(values, codes)


def _nested_key(value: Any) -> Any:
    if value is None:
        return None
    try:
        return json.dumps(value, default=repr, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):  # no JSON could hold it: it equals itself only
        return id(value), type(value)


def file_fault(path: Path, message: str, row: int | None = None) -> DataError:
    """An error of a whole file, or of one row of it."""
    return DataError([Problem(str(path), row, None, message)])
