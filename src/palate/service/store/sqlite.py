"""SQLite's side: write-ahead log, full durability, one writer at a time, deleted means zeroed."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

#: SQLite's code for a lock that another holds.
BUSY = 5
PRAGMAS = (
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA secure_delete = ON",
)


def file_of(url: URL) -> Path:
    """The database's file."""
    return Path(url.database or "").absolute()


def connectable(url: URL) -> URL:
    """The URL by which a file is opened that is there, and never made: a file gone is an error."""
    return url.set(database=f"file:{quote(str(file_of(url)))}", query={"mode": "rw", "uri": "true"})


def connect_arguments(url: URL, timeout: float) -> dict[str, Any]:
    """Transactions are begun by us; a lock is waited for."""
    del url
    return {"timeout": timeout, "isolation_level": None, "check_same_thread": False}


def prepare(engine: Engine) -> Engine:
    """Set the connections up; the engine for reading takes no lock."""

    @event.listens_for(engine, "connect")
    def _connect(raw: DBAPIConnection, record: ConnectionPoolEntry) -> None:
        _write_ahead(engine, raw)
        for pragma in PRAGMAS:
            _ask(raw, pragma)
        record.info["inode"] = _inode(raw)

    @event.listens_for(engine, "checkout")
    def _checkout(
        raw: DBAPIConnection, record: ConnectionPoolEntry, proxy: PoolProxiedConnection
    ) -> None:
        del proxy
        if record.info["inode"] != _inode(raw):  # moved away: it would take writes all the same
            raise DisconnectionError("the database's file is not the one that was opened")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        if not connection.get_execution_options().get("reading"):
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine.execution_options(reading=True)


def wipe(engine: Engine) -> bool:
    """Empty the write-ahead log into the file, where deleted content is zeros."""
    with engine.execution_options(reading=True).connect() as connection:
        busy, *_ = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()
        return not busy


def _write_ahead(engine: Engine, raw: DBAPIConnection) -> None:
    """Switch the file to write-ahead logging, for good; unlike statements this waits for no lock.

    Where the file is locked, another process is switching it.
    """
    try:
        _ask(raw, "PRAGMA journal_mode = WAL")
    except engine.dialect.loaded_dbapi.OperationalError as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF != BUSY:
            raise


def _inode(raw: DBAPIConnection) -> tuple[int, int] | None:
    try:
        found = Path(_ask(raw, "PRAGMA database_list")[2]).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _ask(raw: DBAPIConnection, statement: str) -> Any:  # noqa: ANN401
    """The first row of an answer."""
    cursor = raw.cursor()
    cursor.execute(statement)
    return cursor.fetchone()
