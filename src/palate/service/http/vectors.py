"""Features in memory, in front of those on the disk: a text that was just read is not looked up."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from palate.features.cache import FeatureCache, Vectors

#: Texts that are kept; 1.5 kB each at 384 dimensions.
MOST = 50_000
#: Seconds after which a text is looked up again: by then, what another worker erased is gone here.
AGE = 60.0

Found = tuple[NDArray[np.int64], Vectors, NDArray[np.int64]]


class QuickCache(FeatureCache):
    """A feature cache whose last texts are in memory too. Threads may share one."""

    def __init__(
        self,
        folder: Path,
        fingerprint: str,
        most: int = MOST,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(folder, fingerprint)
        self._most = most
        self._monotonic = monotonic
        self._held: OrderedDict[bytes, tuple[Vectors, int, float]] = OrderedDict()
        self._lock = threading.Lock()
        self.hits = self.misses = 0

    def read(self, keys: Sequence[bytes]) -> Found:
        """As a feature cache does; only what is not in memory is looked up."""
        held = self._of_memory(keys)
        absent = [key for key, known in zip(keys, held, strict=True) if known is None]
        if absent:
            places, vectors, tokens = super().read(absent)
            self._hold([absent[i] for i in places], vectors, tokens)
            found = {absent[i]: (vectors[n], int(tokens[n])) for n, i in enumerate(places)}
            held = [known or found.get(key) for key, known in zip(keys, held, strict=True)]
        rows = [(place, *known) for place, known in enumerate(held) if known is not None]
        if not rows:
            return np.zeros(0, np.int64), np.zeros((0, 0), np.float32), np.zeros(0, np.int64)
        table = np.stack([vector for _, vector, _ in rows])
        return np.array([row[0] for row in rows]), table, np.array([row[2] for row in rows])

    def write(self, keys: Sequence[bytes], vectors: Vectors, tokens: NDArray[np.int64]) -> None:
        """Keep features on the disk and in memory."""
        super().write(keys, vectors, tokens)
        self._hold(keys, vectors, tokens)

    def forget(self, keys: Sequence[bytes]) -> None:
        """Drop them in both; other workers' memory lets go of them within `AGE` seconds."""
        with self._lock:
            for key in keys:
                self._held.pop(key, None)
        super().forget(keys)

    def _of_memory(self, keys: Sequence[bytes]) -> list[tuple[Vectors, int] | None]:
        oldest = self._monotonic() - AGE
        found: list[tuple[Vectors, int] | None] = []
        with self._lock:
            while self._held and next(iter(self._held.values()))[2] < oldest:
                self._held.popitem(last=False)
            for key in keys:
                known = self._held.get(key)
                found.append(None if known is None else known[:2])
            missed = sum(known is None for known in found)
            self.hits, self.misses = self.hits + len(keys) - missed, self.misses + missed
        return found

    def _hold(self, keys: Sequence[bytes], vectors: Vectors, tokens: NDArray[np.int64]) -> None:
        """In the order of their coming: the oldest go first, by age and by number."""
        now = self._monotonic()
        with self._lock:
            for key, vector, count in zip(keys, vectors, tokens, strict=True):
                self._held.pop(key, None)
                self._held[key] = np.array(vector), int(count), now
            while len(self._held) > self._most:
                self._held.popitem(last=False)
