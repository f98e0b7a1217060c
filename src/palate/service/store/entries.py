"""The entries of a user's log: answers, answers taken back, and what has grown too old."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy import Row

from palate.service.store.errors import InvalidEntry
from palate.service.store.texts import check_text, checked_name, column_of, text_of
from palate.types import Comparison, canonical

Kind = Literal["answer", "withdrawal", "expiry"]
#: The largest whole number that a column holds.
LARGEST = 2**63 - 1


@dataclass(frozen=True)
class NewAnswer:
    """What a user said of two responses, on its way in.

    comparison: `chosen` was preferred to `rejected`; of a tie the sides mean nothing.
    weight: in (0, 1], what the answer counts. A tie counts as half an answer for each side.
    time: when it was given, UTC seconds since 1970; None for when it is received.
    origin: how it was given (comparison, thumb, ranking, ...). completion: of which served answer.
    """

    comparison: Comparison
    weight: float = 1.0
    tie: bool = False
    time: float | None = None
    origin: str = "comparison"
    completion: str | None = None

    def __post_init__(self) -> None:
        for name, text in vars(self.comparison).items():
            check_text(f"the answer's {name}", text)
        if not 0 < self.weight <= 1:
            raise InvalidEntry(f"an answer's weight is {self.weight}; expected above 0, at most 1")
        if self.time is not None and not math.isfinite(self.time):
            raise InvalidEntry(f"an answer's time is {self.time}; expected seconds since 1970")
        if not 1 <= len(self.origin) <= 32:
            raise InvalidEntry(f"an answer's origin is {self.origin!r}; expected a short word")
        if self.completion is not None:
            checked_name("the completion's id", self.completion)

    @property
    def said(self) -> tuple[object, ...]:
        """What makes a repetition under one idempotency key the same answer."""
        texts = (self.comparison.prompt, self.comparison.chosen, self.comparison.rejected)
        return (*map(canonical, texts), self.weight, self.tie)


@dataclass(frozen=True)
class Entry:
    """A line of a user's log; its number is the answer's id among this user's.

    kind: 'answer' with `answer`; 'withdrawal' of the answer number `target`; 'expiry' of all
    entries up to number `target`, which are gone from the log.
    """

    number: int
    kind: Kind
    received: float
    answer: NewAnswer | None = None
    target: int | None = None
    idempotency: str | None = None
    part: int = field(default=0, repr=False)

    def row(self) -> dict[str, Any]:
        """The columns but the user's; an answer without a time was given when it was received."""
        row: dict[str, Any] = {
            name: getattr(self, name)
            for name in ("number", "kind", "received", "target", "idempotency", "part")
        }
        given = self.answer
        texts = given and given.comparison
        return row | {
            "prompt": texts and column_of(texts.prompt),
            "chosen": texts and column_of(texts.chosen),
            "rejected": texts and column_of(texts.rejected),
            "time": given and (self.received if given.time is None else given.time),
            "weight": given and given.weight,
            "tie": given and given.tie,
            "origin": given and given.origin,
            "completion": given and given.completion,
        }


def entry_of(row: Row[Any]) -> Entry:
    """The entry that a row of the table holds."""
    answer = None
    if row.kind == "answer":
        texts = Comparison(text_of(row.prompt), text_of(row.chosen), text_of(row.rejected))
        answer = NewAnswer(texts, row.weight, row.tie, row.time, row.origin, row.completion)
    return Entry(row.number, row.kind, row.received, answer, row.target, row.idempotency, row.part)


def checked_number(number: int) -> int:
    """An entry's number; raises `InvalidEntry` for one that no log has."""
    if not 1 <= number <= LARGEST:
        raise InvalidEntry(f"there is no entry {number}; they are numbered from 1")
    return number
