"""What was served is written beside the requests: no answer waits for the disk.

A record says what feedback by a completion's id is about. One that is lost, because the process was
killed within milliseconds, loses nothing that a user said: feedback gets 404, and can send texts.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from palate.errors import PalateError
from palate.service.store import Completion, Store, StoreUnavailable

#: Records that may wait, and seconds for which the database is tried again.
WAITING, PATIENCE = 5000, 30.0
#: Seconds that who must see all records waits for them.
FLUSH = 2.0

Record = tuple[int, str, Completion]


class Recorder:
    """One thread that writes what was served, in its order."""

    def __init__(self, store: Store, log: Callable[..., Any]) -> None:
        self._store = store
        self._log = log
        self._waiting: deque[Record] = deque()
        self._changed = threading.Condition()
        self._failing = False
        self._stop = False
        self._thread = threading.Thread(target=self._work, name="palate-records", daemon=True)
        self._thread.start()

    def keep(self, tenant: int, user: str, served: Completion) -> bool:
        """Have it written; False where it cannot be, as the database has not answered lately."""
        with self._changed:
            if self._failing or self._stop or len(self._waiting) >= WAITING:
                return False
            self._waiting.append((tenant, user, served))
            self._changed.notify_all()
            return True

    def flush(self, seconds: float = FLUSH) -> None:
        """Wait until all is written that was to be."""
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting, seconds)

    def close(self) -> None:
        """Write what waits, and end."""
        self.flush()
        with self._changed:
            self._stop = True
            self._changed.notify_all()
        self._thread.join(FLUSH)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._stop)
                if self._stop:
                    return
                record = self._waiting[0]
            self._write(record)
            with self._changed:
                self._waiting.popleft()
                self._changed.notify_all()

    def _write(self, record: Record) -> None:
        until = time.monotonic() + PATIENCE
        while not self._stop:
            try:
                self._store.completions.keep(*record)
            except StoreUnavailable as error:
                self._failing = True
                if time.monotonic() < until:
                    time.sleep(error.retry_after)
                    continue
                self._log("completion not kept", error=type(error).__name__)
            except PalateError as error:
                self._log("completion not kept", error=type(error).__name__)
            else:
                self._failing = False
            return
