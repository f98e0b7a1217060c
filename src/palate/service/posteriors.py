"""Posteriors in the store: read with what they lack, brought up to date, and kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from palate.service import statements as said
from palate.service.making import Made, Making
from palate.service.store import log
from palate.service.store.entries import Entry
from palate.service.store.errors import Conflict
from palate.service.store.log import Held
from palate.service.store.models import KnownModel
from palate.service.store.store import Store


@dataclass(frozen=True)
class Seen:
    """A user as the store has it.

    before: what is stored that the model made. missing: the entries that came since. stored: those
    under the same idempotency key.
    """

    held: Held
    before: Made
    missing: Sequence[Entry]
    stored: Sequence[Entry]


class Posteriors:
    """The posteriors of one model in a store."""

    def __init__(self, store: Store, making: Making) -> None:
        self.making = making
        self.model: KnownModel = store.models.ensure(making.identity)
        self._database = store.database

    def look(
        self,
        connection: Connection,
        tenant: int,
        user: str,
        idempotency: str | None = None,
        *,
        lock: bool = False,
    ) -> Seen:
        """A user of a tenant; `lock` keeps other writers of the user away."""
        held = log.look_up(connection, tenant, user, self.model.id, lock=lock)
        return self._seen(connection, held, idempotency)

    def look_at_rows(self, connection: Connection, users: Sequence[int]) -> list[Seen]:
        """Users by the numbers of their rows, without those who were erased."""
        found = log.look_up_rows(connection, users, self.model.id)
        return [self._seen(connection, held) for held in found]

    def _seen(self, connection: Connection, held: Held, idempotency: str | None = None) -> Seen:
        """A user with what is missing; a posterior that cannot be read is missing altogether."""
        try:
            before = self.making.read(held.through, held.state, held.posterior)
        except ValueError:
            before = self.making.nothing()
        missing = log.entries_after(connection, held, before.through)
        return Seen(held, before, missing, log.entries_once(connection, held, idempotency))

    def made_of(self, seen: Seen) -> Made:
        """What the model makes of a user's log, up to date; texts it has not read are encoded."""
        (made,) = self.made_of_all([seen])
        return made

    def made_of_all(self, users: Sequence[Seen]) -> list[Made]:
        """The same of several users, whose texts are encoded together."""
        answers = [said.answers_of(seen.missing) for seen in users]
        unread = [answer for each in answers for _, answer in each]
        rows = iter(self.making.evidence(unread) if unread else ())
        made = []
        for seen, each in zip(users, answers, strict=True):
            evidence = {entry.number: next(rows) for entry, _ in each}
            made.append(self.making.more(seen.before, seen.missing, evidence))
        return made

    def keep(self, held: Held, made: Made) -> bool:
        """Keep a posterior that was brought up to date; False where its user was erased."""
        try:
            with self._database.write() as connection:
                self.keep_in(connection, held, made)
        except Conflict:
            return False
        return True

    def keep_in(self, connection: Connection, held: Held, made: Made) -> None:
        """The same in a transaction; raises `Conflict` where the user was erased."""
        assert held.user is not None
        log.keep_posterior(connection, held.user, self.model.id, made.through, *made.as_bytes())
