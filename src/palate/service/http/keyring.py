"""Keys that were checked a moment ago, so that not every request asks the database."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable

from palate.service.store import ApiKey, Store, StoreUnavailable

#: Seconds for which a checked key is known; a key that is revoked ends so much later here.
FRESH = 5.0
#: Seconds for which it is, while the database does not answer.
STALE = 300.0
MOST = 10_000


class Keyring:
    """The keys of a store, by hash of their texts."""

    def __init__(self, store: Store, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._monotonic = monotonic
        self._known: dict[bytes, tuple[ApiKey, float]] = {}

    def known(self, text: str, most: float = FRESH) -> ApiKey | None:
        """A key that was checked in the last `most` seconds."""
        key, at = self._known.get(_digest(text), (None, 0.0))
        if key is None or self._monotonic() - at > most or not key.active(self._store.clock()):
            return None
        return key

    def check(self, text: str) -> ApiKey:
        """The key of a text, from the database; raises `Refused` as `ApiKeys.check` does.

        While the database does not answer, a key that was accepted minutes ago still is.
        """
        try:
            key = self._store.keys.check(text)
        except StoreUnavailable:
            known = self.known(text, STALE)
            if known is None:
                raise
            return known
        except BaseException:
            self._known.pop(_digest(text), None)
            raise
        self._known.pop(_digest(text), None)
        self._known[_digest(text)] = key, self._monotonic()
        while len(self._known) > MOST:
            del self._known[next(iter(self._known))]
        return key


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="surrogatepass")).digest()
