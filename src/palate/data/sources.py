"""Comparisons from a file, a table or rows of any kind: read, then validated."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from palate.data.arrow import read_parquet, table_of_arrow
from palate.data.comparisons import PreferenceData
from palate.data.table import Table, file_fault, table_of_records
from palate.data.text_files import read_csv, read_jsonl
from palate.data.validation import validate
from palate.errors import DataError, Problem

#: So many rows in one that says nothing (a text against itself) are an error: a broken export.
TOLERATED_ONE_IN = 10_000


def load(source: Any, *, user: str | None = None) -> PreferenceData:
    """Read and validate comparisons; see `PreferenceData.load`."""
    data, problems = validate(read_table(source), user=user)
    if not problems and data is not None:
        return data
    few = len(problems) * TOLERATED_ONE_IN <= len(problems) + len(data or ())
    if data is None or not few or not all(problem.uninformative for problem in problems):
        raise DataError(problems)
    return replace(data, left_out=tuple(problems))


def inspect(source: str | Path) -> tuple[PreferenceData | None, list[Problem]]:
    """The rows without fault (None if there are none), and every problem found."""
    try:
        return validate(read_table(source))
    except DataError as error:
        return None, list(error.problems)


def read_table(source: Any) -> Table:
    """The columns of a file, an Arrow table, a `datasets.Dataset` or a list of rows."""
    if isinstance(source, str | Path):
        return _read_file(Path(source))
    if isinstance(source, list | tuple):
        return table_of_records("rows", source, range(1, len(source) + 1))
    if all(hasattr(source, name) for name in ("with_format", "features", "num_rows")):
        return table_of_arrow("dataset", source.with_format("arrow")[:])
    if hasattr(source, "column_names") and hasattr(source, "combine_chunks"):
        return table_of_arrow("table", source)
    raise DataError(
        f"cannot read comparisons from a {type(source).__name__}: give a path, an Arrow table, "
        "a datasets.Dataset or a list of dicts"
    )


def _read_file(path: Path) -> Table:
    readers: dict[str, Callable[[Path], Table]] = {
        ".parquet": read_parquet,
        ".jsonl": read_jsonl,
        ".ndjson": read_jsonl,
        ".csv": read_csv,
    }
    suffixes = [suffix.lower() for suffix in path.suffixes]
    kind = (
        suffixes[-2] if suffixes[-1:] == [".gz"] and len(suffixes) > 1 else "".join(suffixes[-1:])
    )
    if kind not in readers:
        raise file_fault(
            path, f"unknown kind of file; expected one of {', '.join(readers)} (or .gz)"
        )
    try:
        if not path.is_file():
            raise file_fault(path, "not a file" if path.exists() else "no such file")
        return readers[kind](path)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise file_fault(path, f"cannot be read ({reason}): is it complete?") from error
