"""What was answered, on disk by the content of what was asked: one SQLite file."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from palate.errors import CacheError

#: Keys asked for in one query; SQLite allows 32,766 parameters.
QUERY_SIZE = 4096
#: Seconds that a writer waits for another process to finish its transaction.
LOCK_TIMEOUT = 60.0


def content_key(content: Mapping[str, Any]) -> bytes:
    """The address of what is asked: SHA-256 of its JSON."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).digest()


class RequestCache:
    """JSON objects by the content that they answer, for threads and processes at once.

    The first answer to a key stays: who asked the same at the same time gets that one too. A
    transaction is whole or absent, so a killed process leaves a whole file. Raises `CacheError`
    where the disk refuses or the file is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._claims: dict[bytes, tuple[threading.Lock, int]] = {}
        self._guard = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CacheError(f"cannot make the folder {path.parent}: {error}") from error
        with self._connect() as connection:
            _write_ahead(connection)
            connection.execute(
                "CREATE TABLE IF NOT EXISTS answers (key BLOB PRIMARY KEY NOT NULL, "
                "content TEXT NOT NULL)"
            )

    def __len__(self) -> int:
        with self._connect() as connection:
            (count,) = connection.execute("SELECT count(*) FROM answers").fetchone()
        return int(count)

    def read(self, key: bytes) -> dict[str, Any] | None:
        """What was answered; None if nothing was."""
        return self.read_many([key]).get(key)

    def read_many(self, keys: Sequence[bytes]) -> dict[bytes, dict[str, Any]]:
        """The answers that are here, by key."""
        found: dict[bytes, dict[str, Any]] = {}
        with self._connect() as connection:
            for start in range(0, len(keys), QUERY_SIZE):
                wanted = keys[start : start + QUERY_SIZE]
                marks = ",".join("?" * len(wanted))
                query = f"SELECT key, content FROM answers WHERE key IN ({marks})"
                for key, content in connection.execute(query, wanted):
                    found[key] = self._decode(content)
        return found

    def write(self, key: bytes, content: Mapping[str, Any]) -> dict[str, Any]:
        """Keep an answer; the one that stands, which may be another's who was first."""
        with self._connect() as connection:
            connection.execute(
                "INSERT INTO answers VALUES (?, ?) ON CONFLICT (key) DO NOTHING",
                (key, json.dumps(content, allow_nan=False)),
            )
            query = "SELECT content FROM answers WHERE key = ?"
            (stands,) = connection.execute(query, (key,)).fetchone()
        return self._decode(stands)

    @contextmanager
    def claim(self, key: bytes) -> Iterator[None]:
        """Alone of this process's threads with a key, so that equal requests are sent once."""
        with self._guard:
            lock, waiting = self._claims.get(key, (threading.Lock(), 0))
            self._claims[key] = (lock, waiting + 1)
        try:
            with lock:
                yield
        finally:
            with self._guard:
                lock, waiting = self._claims.pop(key)
                if waiting > 1:
                    self._claims[key] = (lock, waiting - 1)

    def _decode(self, content: str) -> dict[str, Any]:
        try:
            value = json.loads(content)
        except (TypeError, ValueError) as error:
            raise self.damaged() from error
        if not isinstance(value, dict):
            raise self.damaged()
        return value

    def damaged(self) -> CacheError:
        """What to raise where an answer is not as it was written."""
        return CacheError(f"{self.path} is damaged: delete that file")

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        try:
            with (
                closing(sqlite3.connect(self.path, timeout=LOCK_TIMEOUT)) as connection,
                connection,
            ):
                connection.execute("PRAGMA synchronous=NORMAL")
                yield connection
        except sqlite3.Error as error:
            raise CacheError(
                f"answers cannot be kept in {self.path}: {error}; free disk space, delete that "
                "file if it is damaged, or name another"
            ) from error


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Switch to write-ahead logging, for good. Where the file is locked, another is doing so."""
    try:
        connection.execute("PRAGMA journal_mode=WAL")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
            raise
