"""From one model to the next while requests go on; workers follow one row of the database."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from palate.errors import PalateError
from palate.service.http.errors import ApiError
from palate.service.http.serving import Runs, Serving
from palate.service.rollover import rebuild
from palate.service.store import Store

#: Seconds between two looks at which model serves.
EVERY = 1.0


class Switching:
    """The model that serves in this worker, and the one that is made ready beside it.

    `current` is read by requests, and replaced whole: a request keeps the model that it began with.
    """

    def __init__(self, store: Store, runs: Runs, serving: Serving, log: Callable[..., Any]) -> None:
        self.current = serving
        self._store = store
        self._runs = runs
        self._log = log
        self._stop = threading.Event()
        self._alone = threading.Lock()
        self._state: dict[str, Any] = {"state": "idle"}
        self._absent: set[str] = set()

    def status(self) -> dict[str, Any]:
        """What serves, and how far a roll-over is."""
        own = {"model": self.current.run.name, "identity": self.current.identity}
        return {"object": "models", "serving": own, "rollover": dict(self._state)}

    def begin(self, name: str) -> Serving:
        """Load a model and make its users' posteriors in the background, then let it serve.

        Raises `ModelError` for a model that cannot serve, `ApiError` (409) while another is made.
        """
        if not self._alone.acquire(blocking=False):
            raise ApiError(409, "rollover_under_way", "another model is being made ready; wait")
        try:
            following = self._runs.named(name)
        except BaseException:
            self._alone.release()
            raise
        self._state = {"state": "rebuilding", "model": name, "identity": following.identity}
        threading.Thread(target=self._make, args=(following,), daemon=True).start()
        return following

    def _make(self, following: Serving) -> None:
        try:
            left = self._store.models.behind(following.identity)
            self._state |= {"users": left, "made": 0}
            rebuild(following.tastes, progress=_Told(self._state), stop=self._stop.is_set)
            if self._stop.is_set():
                return
            self._store.models.switch(following.identity)
            self._serve(following)
            self._state |= {"state": "done"}
        except Exception as error:
            self._state |= {"state": "failed", "error": type(error).__name__}
            self._log("rollover failed", error=type(error).__name__)
        finally:
            self._alone.release()

    def _serve(self, following: Serving) -> None:
        before, self.current = self.current, following
        self._log("model switched", before=before.run.name, now=following.run.name)

    def follow(self) -> None:
        """Look until the worker stops; another worker or machine may have switched."""
        while not self._stop.wait(EVERY):
            try:
                self.look()
            except PalateError as error:  # the database is away; the next look may find it
                self._log("cannot see which model serves", error=type(error).__name__)
                time.sleep(EVERY)

    def look(self) -> None:
        """Serve what the database says serves."""
        row = self._store.models.serving()
        if row is None or row.identity == self.current.identity or row.identity in self._absent:
            return
        found = self._runs.of_identity(row.identity)
        if found is None:
            self._absent.add(row.identity)
            self._log("the model that serves is not here", identity=row.identity[:12])
            return
        self._serve(found)

    def stop(self) -> None:
        """Stop looking, and stop making: what is made is kept."""
        self._stop.set()


class _Told:
    """Progress into a status."""

    def __init__(self, state: dict[str, Any]) -> None:
        self._state = state

    @contextmanager
    def track(self, step: str, total: int) -> Iterator[Callable[[int], None]]:
        del step, total

        def advance(done: int) -> None:
            self._state["made"] += done

        yield advance
