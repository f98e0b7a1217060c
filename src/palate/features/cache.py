"""Features on disk, addressed by content: one SQLite file a backbone, safe against a kill."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from platformdirs import user_cache_path

from palate.errors import CacheError
from palate.types import Text, canonical

#: Keys asked for in one query; SQLite allows 32,766 parameters.
QUERY_SIZE = 4096
#: Seconds that a writer waits for another process to finish its transaction.
LOCK_TIMEOUT = 60.0

Vectors = NDArray[np.float32]


def default_cache_folder() -> Path:
    """PALATE_CACHE, or the folder that the system keeps for caches."""
    chosen = os.environ.get("PALATE_CACHE")
    return Path(chosen) if chosen else user_cache_path("palate")


def text_key(prompt: Text, response: Text) -> bytes:
    """The address of a prompt with a response: 16 bytes of SHA-256 over both."""
    first, second = canonical(prompt).encode(), canonical(response).encode()
    return hashlib.sha256(len(first).to_bytes(8, "little") + first + second).digest()[:16]


def prompt_key(prompt: Text) -> bytes:
    """The address of a prompt by itself: no prompt with a response has it."""
    # in place of a length that no text has
    return hashlib.sha256(b"\xff" * 8 + canonical(prompt).encode()).digest()[:16]


class FeatureCache:
    """The hidden states of one backbone's texts.

    A transaction is whole or absent, so a killed process leaves a whole cache; processes that
    encode the same texts at once write the same rows. Raises `CacheError` where the disk refuses.
    """

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self.path = folder / f"{fingerprint}.sqlite"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CacheError(f"cannot make the cache folder {folder}: {error}") from error
        with self._connect() as connection:
            _write_ahead(connection)
            connection.execute(
                "CREATE TABLE IF NOT EXISTS features (key BLOB PRIMARY KEY NOT NULL, "
                "tokens INTEGER NOT NULL, vector BLOB NOT NULL)"
            )

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
                f"the feature cache {self.path} fails: {error}; free disk space, delete that file "
                "if it is damaged, or set PALATE_CACHE to another folder"
            ) from error

    def read(self, keys: Sequence[bytes]) -> tuple[NDArray[np.int64], Vectors, NDArray[np.int64]]:
        """Of the keys that are here: places (n,), hidden states (n, D), token counts (n,)."""
        place = {key: i for i, key in enumerate(keys)}
        places: list[int] = []
        tokens: list[int] = []
        vectors: list[bytes] = []
        with self._connect() as connection:
            for start in range(0, len(keys), QUERY_SIZE):
                wanted = keys[start : start + QUERY_SIZE]
                marks = ",".join("?" * len(wanted))
                query = f"SELECT key, tokens, vector FROM features WHERE key IN ({marks})"
                for key, count, vector in connection.execute(query, wanted):
                    places.append(place[key])
                    tokens.append(count)
                    vectors.append(vector)
        try:
            (width,) = {len(vector) for vector in vectors} or {0}
            table = np.frombuffer(b"".join(vectors), dtype="<f4").reshape(len(places), width // 4)
            return np.array(places, dtype=np.int64), table, np.array(tokens, dtype=np.int64)
        except (TypeError, ValueError) as error:
            raise CacheError(
                f"the feature cache {self.path} is damaged: delete that file"
            ) from error

    def write(self, keys: Sequence[bytes], vectors: Vectors, tokens: NDArray[np.int64]) -> None:
        """Keep hidden states (n, D) and token counts (n,) under their keys, all or none."""
        rows = zip(keys, tokens.tolist(), vectors.astype("<f4"), strict=True)
        with self._connect() as connection:
            connection.executemany(
                "INSERT INTO features VALUES (?, ?, ?) ON CONFLICT (key) DO NOTHING",
                ((key, count, vector.tobytes()) for key, count, vector in rows),
            )

    def forget(self, keys: Sequence[bytes]) -> None:
        """Drop what is kept under some keys, and overwrite it; keys that are not here are fine."""
        with self._connect() as connection:
            connection.execute("PRAGMA secure_delete=ON")
            connection.executemany("DELETE FROM features WHERE key = ?", ((key,) for key in keys))
        with self._connect() as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Switch to write-ahead logging, for good; unlike statements the switch waits for no lock.

    Where the file is locked, another process is switching it.
    """
    try:
        connection.execute("PRAGMA journal_mode=WAL")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
            raise
