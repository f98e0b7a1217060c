"""Users: listed, exported whole, and erased."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy import Connection, delete, select

from palate.service.store.clock import Clock
from palate.service.store.completions import Completion, completion_of
from palate.service.store.database import Database
from palate.service.store.entries import Entry, checked_number, entry_of
from palate.service.store.errors import InvalidEntry, NotFound, StoreUnavailable
from palate.service.store.schema import COMPLETIONS, ENTRIES, USERS
from palate.service.store.texts import checked_name
from palate.types import Text

#: Rows of one page.
MOST_ROWS = 1000


@dataclass(frozen=True)
class Erased:
    """What is gone: numbers of entries and completions, and the texts that they held.

    texts: (prompt, response) pairs, for who keeps features of them. traces: whether the database's
    files may still hold some of it; see `Database.wipe`.
    """

    entries: int
    completions: int
    texts: frozenset[tuple[Text, Text]] = field(repr=False)
    traces: bool


class Users:
    """The users of a database. Raises `NotFound` for a user whom the tenant does not have."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def names(self, tenant: int, after: str = "", limit: int = 100) -> list[str]:
        """Users' ids in order, a page: those behind `after`."""
        query = (
            select(USERS.c.name)
            .where(USERS.c.tenant_id == tenant, USERS.c.name > (after and _checked(after)))
            .order_by(USERS.c.name)
            .limit(_checked_limit(limit))
        )
        with self._database.read() as connection:
            return list(connection.scalars(query))

    def entries(self, tenant: int, user: str, after: int = 0, limit: int = 100) -> list[Entry]:
        """A user's log, a page: the entries whose numbers are above `after`."""
        with self._database.read() as connection:
            row = _row(connection, tenant, user)
            return _entries(connection, row, checked_number(after + 1) - 1, _checked_limit(limit))

    def entry(self, tenant: int, user: str, number: int) -> Entry:
        """One entry of a user's log; raises `NotFound` where the log has it not, or no longer."""
        found = self.entries(tenant, user, checked_number(number) - 1, 1)
        if not found or found[0].number != number:
            raise NotFound(f"user {user!r} has no entry {number}")
        return found[0]

    def export(self, tenant: int, user: str) -> dict[str, Any]:
        """All that is kept of a user's own, as one object for JSON; posteriors follow from it."""
        with self._database.read() as connection:
            row = _row(connection, tenant, user)
            entries = _entries(connection, row)
            query = COMPLETIONS.select().where(COMPLETIONS.c.user_id == row)
            served = connection.execute(query.order_by(COMPLETIONS.c.created)).all()
        return {
            "kind": "palate-user-export",
            "format": 1,
            "user": user,
            "exported": self._clock(),
            "entries": [_entry_json(entry) for entry in entries],
            "completions": [
                {"created": row.created, **asdict(completion_of(row))} for row in served
            ],
        }

    def erase(self, tenant: int, user: str, *, wipe: bool = True) -> Erased:
        """All of a user: answers, completions, posteriors, and what the files hold of them.

        What arrives later for the same id is a new user's. Without `wipe`, call `Database.wipe`
        soon: on a large PostgreSQL it takes longer than a request should.
        """
        with self._database.write() as connection:
            row = _row(connection, tenant, user, lock=True)
            entries = _entries(connection, row)
            query = COMPLETIONS.select().where(COMPLETIONS.c.user_id == row)
            served = [completion_of(each) for each in connection.execute(query)]
            connection.execute(delete(USERS).where(USERS.c.id == row))
        texts = frozenset([*_texts_of_entries(entries), *_texts_of_completions(served)])
        return Erased(len(entries), len(served), texts, traces=not (wipe and self._wiped()))

    def _wiped(self) -> bool:
        try:
            return self._database.wipe()
        except StoreUnavailable:  # the rows are gone all the same
            return False


def _texts_of_entries(entries: Iterable[Entry]) -> Iterator[tuple[Text, Text]]:
    for given in (entry.answer for entry in entries):
        if given is not None:
            texts = given.comparison
            yield texts.prompt, texts.chosen
            yield texts.prompt, texts.rejected


def _texts_of_completions(served: Iterable[Completion]) -> Iterator[tuple[Text, Text]]:
    for each in served:
        for candidate in each.candidates:
            yield each.prompt, candidate


def _entry_json(entry: Entry) -> dict[str, Any]:
    """An entry without what does not apply to its kind."""
    content = {name: getattr(entry, name) for name in ("number", "kind", "received")}
    content |= {"idempotency": entry.idempotency, "target": entry.target}
    if entry.answer is not None:
        given = asdict(entry.answer)
        content |= given.pop("comparison") | given
    return {name: value for name, value in content.items() if value is not None}


def _checked_limit(limit: int) -> int:
    if not 1 <= limit <= MOST_ROWS:
        raise InvalidEntry(f"a page of {limit}; expected 1 to {MOST_ROWS} rows")
    return limit


def _checked(user: str) -> str:
    return checked_name("the user's id", user)


def _row(connection: Connection, tenant: int, user: str, *, lock: bool = False) -> int:
    where = (USERS.c.tenant_id == tenant, USERS.c.name == _checked(user))
    query = select(USERS.c.id).where(*where)
    found = connection.execute(query.with_for_update() if lock else query).scalar_one_or_none()
    if found is None:
        raise NotFound(f"there is no user {user!r}")
    return int(found)


def _entries(
    connection: Connection, row: int, after: int = 0, limit: int | None = None
) -> list[Entry]:
    query = select(ENTRIES).where(ENTRIES.c.user_id == row, ENTRIES.c.number > after)
    found = connection.execute(query.order_by(ENTRIES.c.number).limit(limit))
    return [entry_of(each) for each in found]
