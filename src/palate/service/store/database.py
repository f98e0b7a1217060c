"""The database behind its URL: connections that recover, transactions, and classified errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, create_engine
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from palate.errors import StoreError
from palate.service.store import postgresql, sqlite
from palate.service.store.failures import classified

#: Seconds until a connection, a lock or a statement is given up.
TIMEOUT = 5.0
#: Connections that are kept open, and at most.
POOL, MOST_CONNECTIONS = 8, 32


class Database:
    """SQLite (a file) or PostgreSQL, by URL.

    sqlite:///palate.db (relative), sqlite:////srv/palate.db (absolute), or
    postgresql://user:password@host/name. No connection is made before the first is needed, and a
    broken one is replaced when it is next taken. Errors: `StoreUnavailable` where the database does
    not answer or is busy for too long, `StoreError` for all else that it says; no message holds a
    value that was stored. `name` is the URL without its password.
    """

    def __init__(
        self, url: str, *, timeout: float = TIMEOUT, most_connections: int = MOST_CONNECTIONS
    ) -> None:
        self.url = _parsed(url)
        self.name = self.url.render_as_string(hide_password=True)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._kind = sqlite if self.is_sqlite else postgresql
        self.engine = create_engine(
            self._kind.connectable(self.url),
            connect_args=self._kind.connect_arguments(self.url, timeout),
            hide_parameters=True,
            pool_pre_ping=True,
            pool_size=min(POOL, most_connections),
            max_overflow=max(0, most_connections - POOL),
            pool_timeout=timeout,
        )
        self._reading = self._kind.prepare(self.engine)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection where each statement sees what is committed when it starts."""
        with classified(self.name), self._reading.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction: committed, to the disk, when the block ends; none of it on an error.

        On SQLite it is the only one that writes, from its start.
        """
        with classified(self.name), self.engine.begin() as connection:
            yield connection

    def wipe(self) -> bool:
        """Clear away what deleted rows left; whether nothing of it is left in the files.

        SQLite: deleted content is overwritten as it is deleted, and the write-ahead log is emptied
        here; False where a reader held on to it past the timeout. PostgreSQL: VACUUM frees the
        rows; their bytes stay in free space until it is used again, in the write-ahead log until
        it is recycled, and in backups, so that the answer is False.
        """
        with classified(self.name):
            return bool(self._kind.wipe(self.engine))

    def close(self) -> None:
        """Close the connections."""
        self.engine.dispose()


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
        kind = parsed.get_backend_name()
    except ArgumentError as error:
        raise StoreError("the database's URL cannot be read: " + EXPECTED) from error
    if kind in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+psycopg")
    if kind != "sqlite":
        raise StoreError(f"a database of kind {kind!r}: {EXPECTED}")
    if parsed.database in (None, "", ":memory:"):
        raise StoreError(f"a SQLite database in memory keeps nothing: {EXPECTED}")
    return parsed.set(drivername="sqlite+pysqlite")


EXPECTED = "expected sqlite:///palate.db, or postgresql://user:password@host/name"
