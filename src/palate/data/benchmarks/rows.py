"""Rows of a public data set, from the hub or from a copy on disk, and what may stand in them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, TypeGuard, TypeVar

from palate.errors import DataError, Problem

T = TypeVar("T")

#: So many of a row's columns are named where one is missing.
COLUMNS_SHOWN = 20


@dataclass(frozen=True)
class Row:
    """One row, or a structure inside of one (`path` then says which, as "info.").

    `number` counts from 1 in `file`; for JSON Lines it is the line.
    """

    file: str
    number: int
    values: Mapping[str, Any]
    path: str = ""

    def fault(self, field: str, message: str) -> FieldError:
        """What is wrong with a field of this row, to be raised."""
        return FieldError(Problem(self.file, self.number, self.path + field, message))

    def string(self, field: str) -> str:
        """A text, which may be empty."""
        value = self._value(field)
        if not isinstance(value, str):
            raise self.fault(field, f"expected a text, found {_shown(value)}")
        return value

    def text(self, field: str) -> str:
        """A text that is not empty."""
        value = self.string(field)
        if not value.strip():
            raise self.fault(field, "the text is empty; fill it in, or leave the row out")
        return value

    def name(self, field: str) -> str:
        """A text that identifies something; whole numbers are taken too."""
        value = self._value(field)
        if _is_whole(value):
            return str(value)
        if not isinstance(value, str) or not value.strip():
            raise self.fault(field, f"expected an identifier, found {_shown(value)}")
        return value

    def number_of(self, field: str, least: float = -math.inf, most: float = math.inf) -> float:
        """A finite number within bounds."""
        value = self._value(field)
        if isinstance(value, bool) or not isinstance(value, Real):
            raise self.fault(field, f"expected a number, found {_shown(value)}")
        number = float(value)
        if not math.isfinite(number) or not least <= number <= most:
            bounds = "" if math.isinf(least) else f" from {least:g} to {most:g}"
            raise self.fault(field, f"expected a finite number{bounds}, found {_shown(value)}")
        return number

    def whole(self, field: str, least: int, most: float = math.inf) -> int:
        """A whole number within bounds."""
        value = self._value(field)
        if not _is_whole(value) or not least <= value <= most:
            bounds = f"of at least {least}" if math.isinf(most) else f"from {least} to {most:g}"
            raise self.fault(field, f"expected a whole number {bounds}, found {_shown(value)}")
        return value

    def flag(self, field: str) -> bool:
        """True or false."""
        value = self._value(field)
        if not isinstance(value, bool):
            raise self.fault(field, f"expected true or false, found {_shown(value)}")
        return value

    def inner(self, field: str) -> Row:
        """A structure inside of the row."""
        value = self._value(field)
        if not isinstance(value, Mapping):
            raise self.fault(field, f"expected an object with fields, found {_shown(value)}")
        return Row(self.file, self.number, value, f"{self.path}{field}.")

    def inner_list(self, field: str) -> list[Row]:
        """A list of structures inside of the row."""
        value = self._value(field)
        if not isinstance(value, list) or not all(isinstance(one, Mapping) for one in value):
            raise self.fault(field, f"expected a list of objects, found {_shown(value)}")
        return [
            Row(self.file, self.number, one, f"{self.path}{field}[{place}].")
            for place, one in enumerate(value)
        ]

    def absent(self, field: str) -> bool:
        """Whether an optional field is not there, null or an empty text."""
        return self.values.get(field) in (None, "")

    def _value(self, field: str) -> object:
        if field not in self.values:
            raise self.fault(field, "is missing in this row")
        return self.values[field]


class FieldError(ValueError):
    """What is wrong with one field of one row."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


def require_columns(rows: Sequence[Row], columns: Iterable[str]) -> None:
    """Raise `DataError` where there are no rows, or none of them has a column."""
    if not rows:
        raise DataError("the source holds no row; is the copy complete?")
    found = dict.fromkeys(name for row in rows for name in row.values)
    missing = [name for name in columns if name not in found]
    shown = ", ".join(map(str, list(found)[:COLUMNS_SHOWN])) or "none"
    message = f"column is missing; found {shown}; is this the data set in its official form?"
    if missing:
        raise DataError([Problem(rows[0].file, None, name, message) for name in missing])


def parse_rows(rows: Iterable[Row], parse: Callable[[Row], T]) -> list[T]:
    """What `parse` makes of every row. Raises `DataError` with the first fault of each bad row."""
    parsed, problems = [], []
    for row in rows:
        try:
            parsed.append(parse(row))
        except FieldError as fault:
            problems.append(fault.problem)
    if problems:
        raise DataError(problems)
    return parsed


def is_list_as_text(text: str) -> bool:
    """Whether a text is a list of texts that was written as one string, such as "['a', 'b']"."""
    import ast

    stripped = text.strip()
    if not (stripped.startswith("[") and stripped.endswith("]")):
        return False
    for read in (json.loads, ast.literal_eval):
        try:
            value = read(stripped)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        return isinstance(value, list) and all(isinstance(one, str) for one in value)
    return False


def _is_whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _shown(value: object) -> str:
    return f"{type(value).__name__} {repr(value)[:40]}"
