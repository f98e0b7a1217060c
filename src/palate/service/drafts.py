"""What is to be appended to a user's log, before it has its numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from palate.service.making import Made
from palate.service.store.entries import Entry, NewAnswer, checked_number
from palate.service.store.errors import Conflict, InvalidEntry, NotFound
from palate.service.store.texts import checked_name


@dataclass(frozen=True)
class Draft:
    """Answers; or the number of an answer that is taken back.

    idempotency: what makes a repetition known. Raises `InvalidEntry`.
    """

    answers: tuple[NewAnswer, ...] = ()
    target: int | None = None
    idempotency: str | None = None

    def __post_init__(self) -> None:
        if self.target is None and not self.answers:
            raise InvalidEntry("no answer is given; expected one or more")
        if self.target is not None:
            checked_number(self.target)
        if self.idempotency is not None:
            checked_name("the idempotency key", self.idempotency)

    def entries(self, first: int, now: float) -> list[Entry]:
        """The entries, numbered first, first + 1, ..."""
        if self.target is not None:
            return [Entry(first, "withdrawal", now, None, self.target, self.idempotency)]
        return [
            Entry(first + part, "answer", now, answer, None, self.idempotency, part)
            for part, answer in enumerate(self.answers)
        ]

    def repeats(self, stored: Sequence[Entry]) -> tuple[int, ...]:
        """The numbers of what was stored under this key; raises `Conflict` for anything else."""
        answers = [entry.answer for entry in stored if entry.answer is not None]
        same = [answer.said for answer in answers] == [answer.said for answer in self.answers]
        if not same or stored[0].target != self.target:
            raise Conflict(
                "the idempotency key was used for something else: send the same again, or choose "
                "another key"
            )
        return tuple(entry.number for entry in stored)

    def withdrawn_before(self, made: Made) -> bool:
        """Whether what is to be taken back was already; raises `NotFound` for no answer."""
        if self.target is None:
            return False
        statements: Any = made.statements
        own = statements[statements["number"] == self.target]
        if not len(own):
            raise NotFound(f"there is no answer {self.target} of this user")
        return bool(own["withdrawn"].all())
