"""All that a worker holds, opened when it starts and closed when it ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from fastapi import Request

from palate.errors import PalateError
from palate.service.http.errors import ApiError, late
from palate.service.http.keyring import Keyring
from palate.service.http.metrics import Metrics
from palate.service.http.recording import Recorder
from palate.service.http.serving import Runs, Serving
from palate.service.http.settings import ServeSettings
from palate.service.http.speaking import logger
from palate.service.http.switching import Switching
from palate.service.http.upstream import Upstream, upstream_of
from palate.service.http.who import Pseudonyms
from palate.service.store import Store

T = TypeVar("T")

UNKNOWN = "whether it was done is not known; send it again, feedback under its idempotency key"

#: Where the key of users' pseudonyms is looked for.
SECRET_VARIABLE = "PALATE_SECRET"
#: Seconds between two looks for what is too old.
RETENTION_EVERY = 3600.0


class Service:
    """The store, the model that serves, the upstream, and the threads that work for requests."""

    def __init__(self, settings: ServeSettings, store: Store, upstream: Upstream) -> None:
        self.settings = settings
        self.store = store
        self.upstream = upstream
        self.log = logger()
        self.metrics = Metrics()
        self.keyring = Keyring(store)
        self.recorder = Recorder(store, self.log.warning)
        self.pseudonyms = Pseudonyms(os.environ.get(SECRET_VARIABLE) or os.urandom(32).hex())
        run = Path(settings.run).absolute()
        folder = Path(settings.models).absolute() if settings.models else run.parent
        self.runs = Runs(folder, store, settings.cache, settings.half_life)
        self.switching = Switching(store, self.runs, self._first(run), self.log.info)
        self._threads = ThreadPoolExecutor(settings.threads, "palate")
        self._stop = threading.Event()

    @classmethod
    def open(cls, settings: ServeSettings) -> Service:
        """Open the store and load the model; raises `PalateError`."""
        store = Store.open(settings.database)
        try:
            return cls(settings, store, upstream_of(settings))
        except BaseException:
            store.close()
            raise

    def _first(self, run: Path) -> Serving:
        """The model that the database says serves, or the one that was named."""
        row = self.store.models.serving()
        own = self.runs.at(run)
        if row is not None and row.identity != own.identity:
            return self.runs.of_identity(row.identity) or own
        if row is None:
            self.store.models.switch(own.identity)
        return own

    @property
    def serving(self) -> Serving:
        """The model that serves now; a request asks once."""
        return self.switching.current

    def start(self) -> None:
        """Begin what runs beside the requests."""
        threading.Thread(target=self.switching.follow, daemon=True).start()
        if self.settings.retention is not None:
            threading.Thread(target=self._retain, daemon=True).start()

    async def close(self) -> None:
        """End it all; threads that hang are left to the process's end."""
        self._stop.set()
        self.switching.stop()
        await self.upstream.close()
        await asyncio.to_thread(self.recorder.close)
        self._threads.shutdown(wait=False, cancel_futures=True)
        self.store.close()

    async def in_thread(
        self, function: Callable[..., T], *given: object, seconds: float | None = None
    ) -> T:
        """What a function gives, in a thread; raises `ApiError` (504) where it takes too long."""
        most = self.settings.deadline if seconds is None else seconds
        future = asyncio.get_running_loop().run_in_executor(self._threads, function, *given)
        try:
            return await asyncio.wait_for(future, most)
        except TimeoutError:
            raise late("this request", most, UNKNOWN) from None

    def _retain(self) -> None:
        assert self.settings.retention is not None
        while not self._stop.is_set():
            with contextlib.suppress(PalateError):  # the next hour tries again
                gone = self.store.retention.expire(self.settings.retention)
                self.log.info("retention", **vars(gone))
            self._stop.wait(RETENTION_EVERY)


def service_of(request: Request) -> Service:
    """The worker's service; raises `ApiError` (503) before it is ready."""
    service = getattr(request.app.state, "service", None)
    if not isinstance(service, Service):
        raise ApiError(503, "starting", "the service is starting; try again", retry_after=1.0)
    return service


def until(seconds: float) -> Callable[[], float]:
    """A clock of the seconds that are left."""
    end = time.monotonic() + seconds
    return lambda: max(0.0, end - time.monotonic())
