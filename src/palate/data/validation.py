"""At the door: columns become comparisons, or problems with their file, row and field."""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from palate.data.comparisons import FloatArray, IntArray, PreferenceData
from palate.data.sources import MAX_FIELD_BYTES, Column, Table
from palate.errors import DataError, Problem
from palate.types import Message, Text

TEXT_COLUMNS = ("prompt", "chosen", "rejected")
USER_COLUMNS = ("user_id", "user")
OPTIONAL_COLUMNS = ("group", "weight", "timestamp", "tie")


class FaultError(ValueError):
    """What is wrong with one value, in words for the person who has to mend it."""


def validate(
    table: Table, *, user: str | None = None
) -> tuple[PreferenceData | None, list[Problem]]:
    """The rows of `table` without fault, and a problem for each fault of the others.

    `user` is everyone's name where there is no user column. Raises `DataError` where columns are
    missing or there are no rows: nothing more can then be said.
    """
    if not len(table.rows) and not table.problems:
        raise DataError([Problem(table.name, None, None, "holds no comparison")])
    columns = _named_columns(table, user)
    parsers: dict[str, Callable[[Any], Any]] = {
        "user": _user_id,
        **dict.fromkeys(TEXT_COLUMNS, parse_text),
        "group": _group,
        "weight": _weight,
        "timestamp": _timestamp,
        "tie": _no_tie,
    }
    parsed = {name: _parse(column, parsers[name]) for name, column in columns.items()}
    problems = list(table.problems)
    good = np.ones(len(table.rows), dtype=bool)
    for name, column in parsed.items():
        field = _source_name(table, name)
        for row in np.flatnonzero(column.faulty[column.codes]):
            fault = column.faults[int(column.codes[row])]
            problems.append(Problem(table.name, int(table.rows[row]), field, fault))
            good[row] = False
    responses, chosen, rejected = _shared_vocabulary(parsed["chosen"], parsed["rejected"])
    for row in np.flatnonzero((chosen == rejected) & good):
        fault = "the same text is chosen and rejected; leave the row out"
        problems.append(Problem(table.name, int(table.rows[row]), "rejected", fault, True))
        good[row] = False
    problems.sort(key=lambda problem: problem.row or 0)
    if not good.any():
        return None, problems
    data = _assemble(table, parsed, responses, chosen, rejected)
    return (data if good.all() else data.select(good)), problems


def _named_columns(table: Table, user: str | None) -> dict[str, Column]:
    """The columns that are read, by the names used here; complains of missing ones."""
    present = ", ".join(table.columns) or "none"
    missing = [name for name in TEXT_COLUMNS if name not in table.columns]
    user_column = next((name for name in USER_COLUMNS if name in table.columns), None)
    if user_column is None and user is None:
        missing.append("user_id")
    if missing:
        message = f"column is missing; found {present}; expected the columns "
        message += "user_id (or user), prompt, chosen, rejected"
        raise DataError([Problem(table.name, None, name, message) for name in missing])
    columns = {name: table.columns[name] for name in TEXT_COLUMNS}
    if user_column is None:
        columns["user"] = Column([user], np.zeros(len(table.rows), dtype=np.int64))
    else:
        columns["user"] = table.columns[user_column]
    columns |= {name: table.columns[name] for name in OPTIONAL_COLUMNS if name in table.columns}
    return columns


def _source_name(table: Table, name: str) -> str:
    return "user_id" if name == "user" and "user_id" in table.columns else name


@dataclass(frozen=True)
class _Parsed:
    """A column's distinct values after parsing; a faulty one has a message in `faults`."""

    values: list[Any]
    faults: dict[int, str]
    codes: IntArray

    @property
    def faulty(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        mask = np.zeros(len(self.values), dtype=bool)
        mask[list(self.faults)] = True
        return mask

    def per_row(self) -> FloatArray:
        """(B,) of a column of numbers; NaN where faulty."""
        values = np.array([math.nan if v is None else v for v in self.values], dtype=np.float64)
        return values[self.codes]


def _parse(column: Column, parse: Callable[[Any], Any]) -> _Parsed:
    values: list[Any] = []
    faults: dict[int, str] = {}
    for i, value in enumerate(column.values):
        try:
            values.append(parse(value))
        except FaultError as fault:
            values.append(None)
            faults[i] = str(fault)
    return _Parsed(values, faults, column.codes)


def _compact(values: Sequence[Any], codes: IntArray) -> tuple[list[Any], IntArray]:
    """Merge equal values and number them by first appearance in the rows."""
    numbers: dict[Any, int] = {}
    key_of = np.array([numbers.setdefault(value, len(numbers)) for value in values], dtype=np.int64)
    merged = key_of[codes]
    distinct, first = np.unique(merged, return_index=True)
    order = np.argsort(first, kind="stable")
    place = np.zeros(len(numbers), dtype=np.int64)
    place[distinct[order]] = np.arange(len(order))
    by_number = list(numbers)
    return [by_number[i] for i in distinct[order]], place[merged]


def _shared_vocabulary(chosen: _Parsed, rejected: _Parsed) -> tuple[list[Any], IntArray, IntArray]:
    codes = np.concatenate([chosen.codes, rejected.codes + len(chosen.values)])
    # Faulty values are all None here; they are told apart so that none equals another.
    values = [
        (i,) if value is None else value for i, value in enumerate(chosen.values + rejected.values)
    ]
    distinct, merged = _compact(values, codes)
    return distinct, merged[: len(chosen.codes)], merged[len(chosen.codes) :]


def _assemble(
    table: Table,
    parsed: dict[str, _Parsed],
    responses: list[Any],
    chosen: IntArray,
    rejected: IntArray,
) -> PreferenceData:
    user_ids, user = _compact(parsed["user"].values, parsed["user"].codes)
    prompts, prompt = _compact(parsed["prompt"].values, parsed["prompt"].codes)
    group_names: list[Any] = []
    group = None
    if "group" in parsed:
        group_names, group = _compact(parsed["group"].values, parsed["group"].codes)
    numbers: dict[str, Any] = {
        name: parsed[name].per_row() if name in parsed else None for name in ("weight", "timestamp")
    }
    items, chosen_item, rejected_item = _number_items(prompt, chosen, rejected)
    known = {*TEXT_COLUMNS, *USER_COLUMNS, *OPTIONAL_COLUMNS}
    return PreferenceData(
        source=table.name,
        user_ids=tuple(user_ids),
        prompts=tuple(prompts),
        responses=tuple(responses),
        user=user,
        prompt=prompt,
        chosen=chosen,
        rejected=rejected,
        items=items,
        chosen_item=chosen_item,
        rejected_item=rejected_item,
        group_names=tuple(group_names),
        group=group,
        other_columns=tuple(name for name in table.columns if name not in known),
        **numbers,
    )


def _number_items(
    prompt: IntArray, chosen: IntArray, rejected: IntArray
) -> tuple[IntArray, IntArray, IntArray]:
    """The distinct (prompt, response), and which of them was chosen and rejected in each row."""
    responses = int(max(chosen.max(), rejected.max())) + 1
    code = np.concatenate([prompt, prompt]) * responses + np.concatenate([chosen, rejected])
    distinct, inverse = np.unique(code, return_inverse=True)
    items = np.stack(np.divmod(distinct, responses), axis=1)
    return items, inverse[: len(chosen)], inverse[len(chosen) :]


def _checked_string(value: str, what: str) -> str:
    if not value.strip():
        raise FaultError(f"the {what} is empty")
    try:
        size = len(value.encode())
    except UnicodeEncodeError as error:
        raise FaultError(
            f"the {what} holds half a surrogate pair at character {error.start}"
        ) from error
    if size > MAX_FIELD_BYTES:
        raise FaultError(f"the {what} has {size:,} bytes; at most {MAX_FIELD_BYTES:,} are read")
    if "\x00" in value:
        raise FaultError(f"the {what} holds a NUL character")
    return value


def parse_text(value: Any) -> Text:
    """A text as a file gives it: a string, or a list of turns. Raises `FaultError`."""
    if isinstance(value, str):
        return _checked_string(value, "text")
    if isinstance(value, list):
        return tuple(_message(turn) for turn in value) or _refuse("the conversation has no turn")
    if value is None:
        raise FaultError("the text is missing")
    if isinstance(value, bytes):
        raise FaultError("the text is not UTF-8; save the file as UTF-8")
    raise FaultError(f"expected a text or a list of turns, found {type(value).__name__}")


def _message(turn: Any) -> Message:
    if not isinstance(turn, dict) or not isinstance(turn.get("role"), str):
        raise FaultError('a turn is not an object of the form {"role": ..., "content": ...}')
    content = turn.get("content")
    if not isinstance(content, str):
        raise FaultError(f"a turn's content is {type(content).__name__}, expected a text")
    return Message(_checked_string(turn["role"], "role"), _checked_string(content, "content"))


def _refuse(message: str) -> Text:
    raise FaultError(message)


def _identifier(value: Any, what: str) -> str:
    if isinstance(value, str):
        return _checked_string(value, what)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if value is None:
        raise FaultError(f"the {what} is missing")
    raise FaultError(f"expected a text or a whole number as {what}, found {type(value).__name__}")


def _user_id(value: Any) -> str:
    return _identifier(value, "user id")


def _group(value: Any) -> str:
    return _identifier(value, "group")


def _number(value: Any, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise FaultError(f"expected a number as {what}, found {type(value).__name__}")
    try:
        return float(value)
    except (ValueError, OverflowError) as error:
        raise FaultError(f"expected a number as {what}, found {str(value)[:40]!r}") from error


def _weight(value: Any) -> float:
    weight = _number(value, "weight")
    if not (math.isfinite(weight) and weight > 0):
        raise FaultError(f"the weight is {weight}; expected a positive, finite number")
    return weight


def _timestamp(value: Any) -> float:
    if isinstance(value, datetime.datetime):
        return value.timestamp()
    if isinstance(value, str):
        try:
            return datetime.datetime.fromisoformat(value).timestamp()
        except ValueError:
            pass  # not a date: perhaps seconds in figures, as in a CSV file
    seconds = _number(value, "timestamp (seconds, or a date such as 2026-11-21T09:30:00Z)")
    if not math.isfinite(seconds):
        raise FaultError(f"the timestamp is {seconds}; expected seconds or a date")
    return seconds


def _no_tie(value: Any) -> bool:
    if value in (None, False, 0, "", "0", "false", "False"):
        return False
    raise FaultError("a tie is no comparison: nothing was chosen; leave the row out")
