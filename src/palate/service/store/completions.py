"""Served completions, kept so that feedback can name one by its id."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, delete, insert, select

from palate.service.store.clock import Clock
from palate.service.store.database import Database
from palate.service.store.errors import Conflict, InvalidEntry, NotFound
from palate.service.store.log import ensure_user
from palate.service.store.schema import COMPLETIONS, USERS
from palate.service.store.texts import (
    check_text,
    checked_name,
    column_of,
    columns_of,
    text_of,
    texts_of,
)
from palate.types import Text


@dataclass(frozen=True)
class Completion:
    """What was served: a prompt, the candidates that were considered, and which was given.

    model: identity of the reward model that chose, '' where none did.
    """

    id: str
    prompt: Text
    candidates: tuple[Text, ...]
    choice: int
    model: str = ""

    def __post_init__(self) -> None:
        checked_name("the completion's id", self.id)
        for text in (self.prompt, *self.candidates):
            check_text("a served text", text)
        if not 0 <= self.choice < len(self.candidates):
            raise InvalidEntry(
                f"choice {self.choice} of {len(self.candidates)} candidates; expected one of them"
            )


class Completions:
    """The completions that a database keeps."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def keep(self, tenant: int, user: str, served: Completion) -> None:
        """Keep what a user was served; raises `Conflict` where the tenant has the id already."""
        now = self._clock()
        row = {"tenant_id": tenant, "id": served.id, "created": now, "choice": served.choice}
        row |= {"prompt": column_of(served.prompt), "candidates": columns_of(served.candidates)}
        row |= {"model": served.model}
        try:
            with self._database.write() as connection:
                row["user_id"] = ensure_user(connection, tenant, user, now)
                connection.execute(insert(COMPLETIONS).values(row))
        except Conflict:
            raise Conflict(f"there is a completion {served.id!r} already") from None

    def find(self, tenant: int, id: str) -> tuple[str, Completion]:
        """The user who was served, and what; raises `NotFound`."""
        query = (
            select(USERS.c.name, COMPLETIONS)
            .join_from(COMPLETIONS, USERS, USERS.c.id == COMPLETIONS.c.user_id)
            .where(COMPLETIONS.c.tenant_id == tenant, COMPLETIONS.c.id == checked_id(id))
        )
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            raise NotFound(f"there is no completion {id!r}: it was never served, or is too old")
        return row.name, completion_of(row)

    def expire(self, before: float) -> int:
        """Drop all that was served before a time, of every tenant; how many."""
        with self._database.write() as connection:
            gone = delete(COMPLETIONS).where(COMPLETIONS.c.created < before)
            return connection.execute(gone).rowcount


def completion_of(row: Row[Any]) -> Completion:
    """The completion that a row of the table holds."""
    return Completion(row.id, text_of(row.prompt), texts_of(row.candidates), row.choice, row.model)


def checked_id(id: str) -> str:
    """A completion's id; raises `InvalidEntry`."""
    return checked_name("the completion's id", id)
