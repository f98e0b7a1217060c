"""Whole records of Parquet and JSON Lines files, nested as they are, with their row numbers."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from palate.data.benchmarks.rows import Row
from palate.data.table import file_fault
from palate.data.text_files import open_text, parse_line
from palate.errors import DataError, Problem


def rows_of_file(path: Path) -> list[Row]:
    """The rows of a Parquet or JSON Lines file (also gzipped). Raises `DataError`."""
    reader = reader_of(path)
    if reader is None:
        raise file_fault(path, f"unknown kind of file; expected {', '.join(READERS)} (or .gz)")
    try:
        return list(reader(path))
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise file_fault(path, f"cannot be read ({reason}): is it complete?") from error


def reader_of(path: Path) -> Callable[[Path], Iterator[Row]] | None:
    """What reads a file of this name; None if nothing does."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes[-1:] == [".gz"]:
        return READERS.get(suffixes[-2]) if suffixes[-2:-1] == [".jsonl"] else None
    return READERS.get(suffixes[-1]) if suffixes else None


def _parquet(path: Path) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches():
                for values in batch.to_pylist():
                    number += 1
                    yield Row(str(path), number, values)
    except (pa.ArrowException, ValueError) as error:
        raise file_fault(path, f"not a whole Parquet file ({error}): write it again") from error


def _json_lines(path: Path) -> Iterator[Row]:
    problems = []
    with open_text(path) as stream:
        for number, line in enumerate(stream, start=1):
            values, fault = parse_line(line) if line.strip() else ({}, None)
            if fault is not None:
                problems.append(Problem(str(path), number, None, fault))
            elif values:
                yield Row(str(path), number, values)
    if problems:
        raise DataError(problems)


READERS: dict[str, Callable[[Path], Iterator[Row]]] = {
    ".parquet": _parquet,
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
}
