"""Tenants: whose users, keys and completions are apart from everybody else's."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import delete, insert, select

from palate.service.store.clock import Clock
from palate.service.store.database import Database
from palate.service.store.errors import Conflict, NotFound
from palate.service.store.schema import TENANTS
from palate.service.store.texts import checked_name

#: The tenant of a first start.
DEFAULT = "default"


@dataclass(frozen=True)
class Tenant:
    """A tenant: its number, which every function of the store takes, its name, when it came."""

    id: int
    name: str
    created: float


class Tenants:
    """The tenants of a database."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def create(self, name: str) -> Tenant:
        """A new tenant; raises `Conflict` where the name is taken."""
        values = {"name": checked_name("the tenant's name", name), "created": self._clock()}
        try:
            with self._database.write() as connection:
                made = insert(TENANTS).values(values).returning(TENANTS)
                return Tenant(*connection.execute(made).one())
        except Conflict:
            raise Conflict(f"there is a tenant {name!r} already; choose another name") from None

    def named(self, name: str) -> Tenant:
        """The tenant of that name; raises `NotFound`."""
        query = select(TENANTS).where(TENANTS.c.name == checked_name("the tenant's name", name))
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            raise NotFound(f"there is no tenant {name!r}; `palate keys list` shows those there are")
        return Tenant(*row)

    def ensure(self, name: str) -> Tenant:
        """The tenant of that name, made where there is none."""
        try:
            return self.named(name)
        except NotFound:
            pass
        try:
            return self.create(name)
        except Conflict:  # another process was quicker
            return self.named(name)

    def all(self) -> list[Tenant]:
        """Every tenant, the oldest first."""
        with self._database.read() as connection:
            rows = connection.execute(select(TENANTS).order_by(TENANTS.c.id))
            return [Tenant(*row) for row in rows]

    def erase(self, tenant: int) -> None:
        """A tenant with its keys, users and all that is theirs; raises `NotFound`."""
        with self._database.write() as connection:
            gone = connection.execute(delete(TENANTS).where(TENANTS.c.id == tenant)).rowcount
        if not gone:
            raise NotFound("there is no such tenant")
        self._database.wipe()
