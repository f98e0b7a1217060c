"""All that is kept, behind one URL."""

from __future__ import annotations

import time
from collections.abc import Callable

from palate.service.store import migrate
from palate.service.store.clock import Clock, system_clock
from palate.service.store.completions import Completions
from palate.service.store.database import TIMEOUT, Database
from palate.service.store.keys import ApiKeys
from palate.service.store.limits import Quotas, RateLimits
from palate.service.store.models import Models
from palate.service.store.retention import Retention
from palate.service.store.tenants import Tenants
from palate.service.store.users import Users


class Store:
    """The store of a service. Several processes may open the same one; threads share an object.

    Every function that touches a user, a completion or a key takes the tenant's number and sees
    nothing of other tenants: what is theirs is not there (`NotFound`). When a function returns,
    what it wrote is on the disk. Everywhere: `StoreUnavailable` where the database does not answer,
    `InvalidEntry` for a value that cannot be stored.

    tenants, keys, rates, quotas: who may ask, and how much. users: logs, export, erasure.
    completions: what was served. models: whose posteriors there are, and which model serves.
    retention: what is too old goes. Answers come in, and posteriors out, through `Tastes`.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock = system_clock,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """A store whose tables are up to date already; see `open`."""
        self.database = database
        self.clock = clock
        self.tenants = Tenants(database, clock)
        self.keys = ApiKeys(database, self.tenants, clock)
        self.rates = RateLimits(monotonic)
        self.quotas = Quotas(database, clock)
        self.users = Users(database, clock)
        self.completions = Completions(database, clock)
        self.models = Models(database, clock)
        self.retention = Retention(database, self.completions, clock)

    @classmethod
    def open(
        cls,
        url: str,
        clock: Clock = system_clock,
        *,
        timeout: float = TIMEOUT,
        make: bool = True,
    ) -> Store:
        """The store at a URL, its tables made or brought up to date; raises `StoreError`.

        Without `make`, the file of a SQLite database must be there.
        """
        database = Database(url, timeout=timeout)
        try:
            migrate.migrate(database, make=make)
        except BaseException:
            database.close()
            raise
        return cls(database, clock)

    def check(self) -> None:
        """For a readiness probe: raise unless the database answers and has the right tables."""
        migrate.check(self.database)

    def close(self) -> None:
        """Close all connections."""
        self.database.close()
