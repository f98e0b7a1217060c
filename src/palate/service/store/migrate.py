"""Bring a database's tables to this version, by one process at a time."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from palate.errors import StoreError
from palate.service.store.database import Database
from palate.service.store.sqlite import file_of

FOLDER = Path(__file__).parent / "migrations"
#: The advisory lock of PostgreSQL that migrating takes: "palate" in ASCII.
LOCK = int.from_bytes(b"palate", "big")


def migrate(database: Database, *, make: bool = True) -> str:
    """Make or upgrade the tables, all steps or none; the version that they are at then.

    Processes that start at once wait for each other. Raises `StoreError` for tables of a newer
    palate, and where the file of a SQLite database is not there and cannot, or shall not, be made.
    """
    newest = _newest()
    if database.is_sqlite:
        _find_file(file_of(database.url), make)
    if version_of(database) == newest:
        return newest
    with database.write() as connection:
        if not database.is_sqlite:
            connection.execute(text("SET LOCAL lock_timeout = 0"))
            connection.execute(text("SET LOCAL statement_timeout = 0"))
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        seen = _version(connection)
        _check_known(seen, database)
        if seen != newest:
            command.upgrade(_config(connection), "head")
    return newest


def check(database: Database) -> None:
    """Raise `StoreError` unless the tables are those of this version."""
    seen = version_of(database)
    _check_known(seen, database)
    if seen != _newest():
        raise StoreError(
            f"{database.name} has tables of version {seen or 'none'}, expected {_newest()}: start "
            "`palate serve` or `palate keys` on it once, which brings them up to date"
        )


def version_of(database: Database) -> str | None:
    """The version that a database's tables are at; None for one without."""
    with database.read() as connection:
        return _version(connection)


def _version(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _newest() -> str:
    return str(ScriptDirectory(str(FOLDER)).get_current_head())


def _check_known(seen: str | None, database: Database) -> None:
    known = {step.revision for step in ScriptDirectory(str(FOLDER)).walk_revisions()}
    if seen is not None and seen not in known:
        raise StoreError(
            f"{database.name} has tables of version {seen}, newer than {_newest()}, which this "
            "palate knows: upgrade palate"
        )


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    config.attributes["connection"] = connection
    return config


def _find_file(path: Path, make: bool) -> None:
    """The file, or else an empty one that its owner alone may read."""
    if not make and not path.is_file():
        raise StoreError(f"there is no database {path}: name another, or start `palate serve`")
    try:
        path.touch(mode=0o600)
    except OSError as error:
        raise StoreError(f"the database {path} cannot be made: {error}") from error
