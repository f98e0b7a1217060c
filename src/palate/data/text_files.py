"""JSON Lines and CSV, gzipped or not, as raw columns with the row numbers people look for."""

from __future__ import annotations

import codecs
import csv
import gzip
import itertools
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from palate.data.table import (
    MAX_FIELD_BYTES,
    Table,
    file_fault,
    refuse_twins,
    table_of_records,
)
from palate.errors import Problem

#: How files begin that are no UTF-8 text, and what to say of them.
UTF_16 = "UTF-16 or UTF-32, not UTF-8 text; save the file as UTF-8"
NO_TEXTS = {
    b"PAR1": "a Parquet file; give it a name that ends with .parquet",
    b"\x1f\x8b": "a gzipped file; give it a name that ends with .gz",
    codecs.BOM_UTF16_LE: UTF_16,
    codecs.BOM_UTF16_BE: UTF_16,
}


@contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """Open a text file, gzipped or not. Bytes that are no UTF-8 become lone surrogates."""
    opener: Any = gzip.open if path.suffix.lower() == ".gz" else open
    with opener(path, "rt", encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
        fault = _no_text(stream.buffer.peek(4)[:4])
        if fault is not None:
            raise file_fault(path, fault)
        yield stream


def _no_text(head: bytes) -> str | None:
    """What to say of a file that begins as no UTF-8 text does; None if it may be one."""
    for start, fault in NO_TEXTS.items():
        if head.startswith(start):
            return fault
    return UTF_16 if 0 in head else None  # its letters have a byte of zero


def _not_utf8(text: str) -> str | None:
    """What to say of bytes that are no UTF-8; None where all are."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        byte = ord(text[error.start]) - 0xDC00
        return f"not UTF-8 text (byte {byte:#04x}); save the file as UTF-8"
    return None


def read_jsonl(path: Path) -> Table:
    """One object a line; a broken line is a problem of its own."""
    records: list[dict[str, Any]] = []
    rows: list[int] = []
    problems: list[Problem] = []
    with open_text(path) as stream:
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            record, fault = parse_line(line)
            if fault is not None:
                problems.append(Problem(str(path), number, None, fault))
                continue
            records.append(record)
            rows.append(number)
    return table_of_records(str(path), records, rows, problems)


def parse_line(line: str) -> tuple[dict[str, Any], str | None]:
    """A record, or what is wrong with its line."""
    fault = _not_utf8(line)
    if fault is not None:
        return {}, fault
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        return {}, f"not JSON ({error}); expected one object a line"
    if not isinstance(record, dict):
        return {}, f"expected an object with fields, found {type(record).__name__}"
    return record, None


def read_csv(path: Path) -> Table:
    """Records under a header; a broken record is a problem of its own."""
    records: list[dict[str, Any]] = []
    rows: list[int] = []
    problems: list[Problem] = []
    limit = csv.field_size_limit(20 * MAX_FIELD_BYTES)  # longer than allowed, so that we name it
    try:
        with open_text(path) as stream:
            numbered = _numbered_records(stream)
            header = next(numbered, (0, []))[1]
            if isinstance(header, str):
                raise file_fault(path, f"the header is {header}")
            refuse_twins(str(path), header)
            for number, fields in numbered:
                fault = fields if isinstance(fields, str) else _misfit(fields, header)
                if fault is not None:
                    problems.append(Problem(str(path), number, None, fault))
                elif fields:
                    records.append(dict(zip(header, fields, strict=True)))
                    rows.append(number)
    finally:
        csv.field_size_limit(limit)
    return table_of_records(str(path), records, rows, problems, header)


def _numbered_records(stream: TextIO) -> Iterator[tuple[int, list[str] | str]]:
    """CSV records with their numbers, the header's being 0; of a broken one what is wrong."""
    reader = csv.reader(stream, strict=True)
    for number in itertools.count():
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield number, f"not CSV ({error}); check the quotes"
        else:
            yield number, _not_utf8("".join(fields)) or fields


def _misfit(fields: Sequence[str], header: Sequence[str]) -> str | None:
    if not fields or len(fields) == len(header):
        return None
    return f"has {len(fields)} fields, the header {len(header)}; check the quotes"
