"""How much a key may ask: so many requests a second in each process, so many a day in all."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable

from palate.service.store.clock import SECONDS_A_DAY, Clock
from palate.service.store.database import Database
from palate.service.store.keys import ApiKey
from palate.service.store.schema import USAGE
from palate.service.store.upsert import upsert

#: Seconds' worth of requests that may come at once after a pause.
BURST = 2.0
#: Buckets that are remembered; a bucket that is forgotten is a full one.
MOST_BUCKETS = 10_000


class RateLimits:
    """Token buckets, one a key, in this process: a worker allows each key its rate.

    Behind a load balancer with n workers a key has up to n times its rate.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._buckets: dict[int, tuple[float, float]] = {}
        self._lock = threading.Lock()

    def wait(self, key: ApiKey) -> float:
        """Take one request: 0 where it may go, else the seconds until one may."""
        if key.per_second is None:
            return 0.0
        most, now = max(1.0, BURST * key.per_second), self._monotonic()
        with self._lock:
            tokens, before = self._buckets.pop(key.id, (most, now))
            tokens = min(most, tokens + (now - before) * key.per_second)
            allowed = tokens >= 1
            self._buckets[key.id] = (tokens - 1 if allowed else tokens, now)
            if len(self._buckets) > MOST_BUCKETS:
                del self._buckets[next(iter(self._buckets))]
        return 0.0 if allowed else (1 - tokens) / key.per_second


class Quotas:
    """Requests a day, UTC, counted in the database for all workers together.

    A process takes them in blocks, so that a request seldom writes; what is left of a block when
    the process ends is lost to the day.
    """

    def __init__(self, database: Database, clock: Clock, block: int = 50) -> None:
        self._database = database
        self._clock = clock
        self._block = block
        self._left: dict[int, tuple[int, int]] = {}
        self._lock = threading.Lock()

    def wait(self, key: ApiKey) -> float:
        """Take one request: 0 where it may go, else the seconds until the next day."""
        if key.per_day is None:
            return 0.0
        now = self._clock()
        day = int(now // SECONDS_A_DAY)
        with self._lock:
            of_day, left = self._left.get(key.id, (day, 0))
            if of_day != day or left == 0:
                left = self._take(key, day)
            self._left[key.id] = (day, max(left - 1, 0))
        return 0.0 if left else math.ceil((day + 1) * SECONDS_A_DAY - now)

    def used(self, key: ApiKey) -> int:
        """How many requests of today's were taken, blocks whole."""
        day = int(self._clock() // SECONDS_A_DAY)
        with self._database.read() as connection:
            query = USAGE.select().where(USAGE.c.key_id == key.id, USAGE.c.day == day)
            row = connection.execute(query).one_or_none()
        return 0 if row is None else int(row.used)

    def _take(self, key: ApiKey, day: int) -> int:
        """How many requests of a day are granted: a block, or what the day has left."""
        assert key.per_day is not None
        with self._database.write() as connection:
            row = {"key_id": key.id, "day": day, "used": 0}
            connection.execute(upsert(connection.dialect.name, USAGE).on_conflict_do_nothing(), row)
            where = (USAGE.c.key_id == key.id, USAGE.c.day == day)
            query = USAGE.select().where(*where).with_for_update()
            used = int(connection.execute(query).one().used)
            granted = max(0, min(self._block, key.per_day - used))
            connection.execute(USAGE.update().where(*where).values(used=used + granted))
        return granted
