"""Retention by age: answers and completions that are too old go, texts and all."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, insert, select

from palate.service.store.clock import Clock
from palate.service.store.completions import Completions
from palate.service.store.database import Database
from palate.service.store.entries import Entry
from palate.service.store.schema import ENTRIES, USERS

#: Users whose logs are cut in one transaction.
BATCH = 100


@dataclass(frozen=True)
class Expired:
    """How many users' logs were cut, and how many entries and completions went."""

    users: int
    entries: int
    completions: int


class Retention:
    """What lets go of what is too old.

    A log loses its beginning: all entries up to the last one that is too old, in the order in which
    they were received. Its next entry says up to where ('expiry'), so that every model's posterior
    forgets them too when it is next brought up to date.
    """

    def __init__(self, database: Database, completions: Completions, clock: Clock) -> None:
        self._database = database
        self._completions = completions
        self._clock = clock

    def expire(self, age: float) -> Expired:
        """Drop what was received more than `age` seconds ago, of every tenant.

        In transactions of some users each: where one fails, what was done before stays done, and
        the next call goes on.
        """
        before = self._clock() - age
        users = entries = 0
        while cut := self._expire_some(before):
            users, entries = users + len(cut), entries + sum(cut)
        completions = self._completions.expire(before)
        if entries or completions:
            self._database.wipe()
        return Expired(users, entries, completions)

    def _expire_some(self, before: float) -> list[int]:
        """Cut some users' logs; how many entries each lost."""
        old = (ENTRIES.c.received < before) & (ENTRIES.c.kind != "expiry")
        query = select(ENTRIES.c.user_id).where(old).distinct().limit(BATCH)
        with self._database.write() as connection:
            found = sorted(connection.scalars(query))
            return [self._cut(connection, user, before) for user in found]

    def _cut(self, connection: Connection, user: int, before: float) -> int:
        query = select(USERS.c.entries).where(USERS.c.id == user).with_for_update()
        entries = connection.execute(query).scalar_one()
        old = (ENTRIES.c.user_id == user) & (ENTRIES.c.received < before)
        last = connection.execute(select(func.max(ENTRIES.c.number)).where(old)).scalar_one()
        gone = (ENTRIES.c.user_id == user) & (ENTRIES.c.number <= last)
        count = connection.execute(delete(ENTRIES).where(gone)).rowcount
        entry = Entry(entries + 1, "expiry", self._clock(), target=last)
        connection.execute(insert(ENTRIES).values(user_id=user, **entry.row()))
        change = USERS.update().where(USERS.c.id == user).values(entries=entry.number)
        connection.execute(change)
        return count
