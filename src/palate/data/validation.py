"""At the door: columns become comparisons, or problems with their file, row and field."""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any

import numpy as np

from palate.data.comparisons import FloatArray, IntArray, PreferenceData
from palate.data.table import MAX_FIELD_BYTES, TEXT_COLUMNS, USER_COLUMNS, Column, Table
from palate.errors import Problem
from palate.types import Message, Text

#: So many of a source's columns are named where one is missing, and so much of each name.
COLUMNS_SHOWN = 20
NAME_SHOWN = 40


class FaultError(ValueError):
    """What is wrong with one value, in words for the person who has to mend it."""


def validate(
    table: Table, *, user: str | None = None
) -> tuple[PreferenceData | None, list[Problem]]:
    """The rows of `table` without fault (None if there are none), and every fault of the others.

    `user` is everyone's name where there is no user column.
    """
    problems = list(table.problems)
    if not len(table.rows):
        return None, problems or [Problem(table.name, None, None, "holds no comparison")]
    missing = _missing_columns(table, user)
    problems += missing
    parsers: dict[str, Callable[[Any], Any]] = {
        **dict.fromkeys(USER_COLUMNS, parse_user_id),
        **dict.fromkeys(TEXT_COLUMNS, parse_text),
        "group": _group,
        "weight": _weight,
        "timestamp": parse_timestamp,
        "tie": _no_tie,
    }
    parsed = {name: _parse(column, parsers[name]) for name, column in table.columns.items()}
    good = np.ones(len(table.rows), dtype=bool)
    for name, column in parsed.items():
        for row in np.flatnonzero(column.faulty[column.codes]):
            fault = column.faults[int(column.codes[row])]
            problems.append(Problem(table.name, int(table.rows[row]), name, fault))
            good[row] = False
    if not missing:
        _, chosen, rejected = _shared_vocabulary(parsed["chosen"], parsed["rejected"])
        for row in np.flatnonzero((chosen == rejected) & good):
            fault = "the same text is chosen and rejected; leave the row out"
            problems.append(Problem(table.name, int(table.rows[row]), "rejected", fault, True))
            good[row] = False
    problems.sort(key=lambda problem: problem.row or 0)
    if missing or not good.any():
        return None, problems
    everyone = _Parsed([user], {}, np.zeros(len(table.rows), dtype=np.int64))
    parsed["user"] = next((parsed[name] for name in USER_COLUMNS if name in parsed), everyone)
    kept = {name: replace(column, codes=column.codes[good]) for name, column in parsed.items()}
    return _assemble(table, kept), problems


def _missing_columns(table: Table, user: str | None) -> list[Problem]:
    """A problem for each column that is needed and not there."""
    present = [*table.columns, *table.other_columns]
    found = ", ".join(name[:NAME_SHOWN] for name in present[:COLUMNS_SHOWN]) or "none"
    found += ", ..." if len(present) > COLUMNS_SHOWN else ""
    missing = [name for name in TEXT_COLUMNS if name not in table.columns]
    wanted = ", ".join(TEXT_COLUMNS)
    if user is None:
        wanted = f"{USER_COLUMNS[0]} (or {USER_COLUMNS[1]}), {wanted}"
        if not any(name in table.columns for name in USER_COLUMNS):
            missing.append(USER_COLUMNS[0])
    message = f"column is missing; found {found}; expected the columns {wanted}"
    return [Problem(table.name, None, name, message) for name in missing]


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


def _assemble(table: Table, parsed: dict[str, _Parsed]) -> PreferenceData:
    """Comparisons of columns without fault; values that no row holds are left out."""
    responses, chosen, rejected = _shared_vocabulary(parsed["chosen"], parsed["rejected"])
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
        other_columns=table.other_columns,
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
        raise FaultError(f"the {what} is empty; fill it in, or leave the row out")
    _check_size(_encoded(value, what), what)
    if "\x00" in value:
        raise FaultError(f"the {what} holds a NUL character; remove it")
    return value


def _encoded(value: str, what: str) -> bytes:
    try:
        return value.encode()
    except UnicodeEncodeError as error:
        raise FaultError(
            f"the {what} holds half a surrogate pair at character {error.start}; remove it"
        ) from error


def _check_size(encoded: bytes, what: str) -> None:
    if len(encoded) > MAX_FIELD_BYTES:
        raise FaultError(
            f"the {what} has {len(encoded):,} bytes; at most {MAX_FIELD_BYTES:,} are read: "
            "shorten it, or leave the row out"
        )


def parse_text(value: Any) -> Text:
    """A text as a file gives it: a string, or a list of turns. Raises `FaultError`."""
    if isinstance(value, str):
        return _checked_string(value, "text")
    if isinstance(value, list):
        return _conversation(value)
    if value is None:
        raise FaultError("the text is missing; fill it in, or leave the row out")
    if isinstance(value, bytes):
        raise FaultError("the text is not UTF-8; write it as UTF-8")
    raise FaultError(f"expected a text or a list of turns, found {type(value).__name__}")


def _conversation(turns: list[Any]) -> tuple[Message, ...]:
    messages = tuple(_message(turn) for turn in turns)
    if not messages:
        raise FaultError("the conversation has no turn; leave the row out")
    _check_size("".join(message.content for message in messages).encode(), "conversation")
    return messages


def _message(turn: Any) -> Message:
    if not isinstance(turn, dict) or not isinstance(turn.get("role"), str):
        raise FaultError('a turn is not an object of the form {"role": ..., "content": ...}')
    content = turn.get("content")
    if not isinstance(content, str):
        raise FaultError(f"a turn's content is {type(content).__name__}, expected a text")
    return Message(_checked_string(turn["role"], "role"), _checked_string(content, "content"))


def _identifier(value: Any, what: str) -> str:
    if isinstance(value, str):
        return _checked_string(value, what)
    if value is None:
        raise FaultError(f"the {what} is missing; fill it in, or leave the row out")
    if isinstance(value, bytes):
        raise FaultError(f"the {what} is not UTF-8; write it as UTF-8")
    if isinstance(value, bool) or not isinstance(value, Integral):
        found = type(value).__name__
        raise FaultError(f"expected a text or a whole number as {what}, found {found}")
    try:
        return str(value)
    except ValueError as error:  # more digits than Python turns into text
        raise FaultError(f"the {what} is a number of thousands of digits") from error


def parse_user_id(value: Any) -> str:
    """A user's id as a file gives it: a text, or a whole number. Raises `FaultError`."""
    return _identifier(value, "user id")


def _group(value: Any) -> str:
    return _identifier(value, "group")


def _number(value: Any, what: str) -> float:
    if value is None:
        raise FaultError(f"the {what} is missing; fill it in, or leave the column out")
    if isinstance(value, bool) or not isinstance(value, str | Real):
        raise FaultError(f"expected a number as {what}, found {type(value).__name__}")
    try:
        return float(value)
    except OverflowError as error:
        raise FaultError(f"the {what} is too large a number") from error
    except ValueError as error:
        raise FaultError(f"expected a number as {what}, found {str(value)[:40]!r}") from error


def _weight(value: Any) -> float:
    weight = _number(value, "weight")
    if not (math.isfinite(weight) and weight > 0):
        raise FaultError(f"the weight is {weight}; expected a positive, finite number")
    return weight


def parse_timestamp(value: Any) -> float:
    """Seconds since 1970. Figures are seconds; a date without a time zone is in UTC."""
    if isinstance(value, datetime.date):
        return _seconds(value)
    try:
        seconds = _number(value, "timestamp")
    except FaultError:
        if not isinstance(value, str):
            raise
        try:
            return _seconds(datetime.datetime.fromisoformat(value))
        except ValueError as error:
            message = "expected seconds or a date such as 2026-11-21T09:30:00Z as timestamp, found "
            raise FaultError(f"{message}{value[:40]!r}") from error
    if not math.isfinite(seconds):
        raise FaultError(f"the timestamp is {seconds}; expected seconds or a date")
    return seconds


def _seconds(date: datetime.date) -> float:
    if not isinstance(date, datetime.datetime):
        date = datetime.datetime.combine(date, datetime.time())
    return (date if date.tzinfo else date.replace(tzinfo=datetime.UTC)).timestamp()


def _no_tie(value: Any) -> bool:
    if value in (None, False, 0, "", "0", "false", "False"):
        return False
    raise FaultError("a tie is no comparison: nothing was chosen; leave the row out")
