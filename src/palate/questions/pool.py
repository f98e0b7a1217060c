"""Pairs that a user could be asked about, from a file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from palate.data import PreferenceData
from palate.data.text_files import open_text, parse_line
from palate.data.validation import FaultError, parse_text
from palate.errors import DataError, Problem
from palate.types import Comparison, Text

#: The columns of a pair; of comparisons the chosen response is the first.
SIDES = (("response_a", "response_b"), ("chosen", "rejected"))
LINES = (".jsonl", ".ndjson")


def read_pool(path: str | os.PathLike[str]) -> list[Comparison]:
    """Pairs of responses to a prompt, the first one as `chosen`; nothing is known of the answers.

    JSON Lines with prompt, response_a and response_b, or comparisons of any kind of file that
    `PreferenceData.load` reads. Raises `DataError` with every row that is no pair.
    """
    file = Path(path)
    suffixes = [suffix.lower() for suffix in file.suffixes if suffix.lower() != ".gz"]
    if not suffixes or suffixes[-1] not in LINES:
        return list(PreferenceData.load(file, user="user"))
    pairs, problems = [], []
    for row, line in _lines(file):
        record, fault = parse_line(line)
        if fault is not None:
            problems.append(Problem(str(file), row, None, fault))
            continue
        try:
            pairs.append(_pair(record))
        except _FieldError as error:
            problems.append(Problem(str(file), row, error.field, str(error)))
    if problems:
        raise DataError(problems)
    if not pairs:
        raise DataError([Problem(str(file), None, None, "holds no pair to ask about")])
    return pairs


class _FieldError(ValueError):
    """What is wrong with one field of a row."""

    def __init__(self, field: str, message: str) -> None:
        self.field = field
        super().__init__(message)


def _lines(file: Path) -> list[tuple[int, str]]:
    """Numbered lines that are not empty."""
    try:
        with open_text(file) as stream:
            return [(row, line) for row, line in enumerate(stream, 1) if line.strip()]
    except (OSError, EOFError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError([Problem(str(file), None, None, f"cannot be read ({reason})")]) from error


def _pair(record: Mapping[str, Any]) -> Comparison:
    sides = next((names for names in SIDES if any(name in record for name in names)), None)
    if sides is None:
        raise _FieldError(
            "response_a", "no pair; expected response_a and response_b, or chosen and rejected"
        )
    prompt, one, other = (_text(record, name) for name in ("prompt", *sides))
    try:
        return Comparison(prompt, one, other)
    except ValueError as error:
        raise _FieldError(sides[1], "the same text twice; leave the row out") from error


def _text(record: Mapping[str, Any], name: str) -> Text:
    try:
        return parse_text(record.get(name))
    except FaultError as fault:
        raise _FieldError(name, str(fault)) from fault
