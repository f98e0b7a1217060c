"""API keys: shown once, kept as a hash, with scopes; rotated, revoked and listed."""

from __future__ import annotations

import hashlib
import math
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, insert, or_, select, update

from palate.service.store.clock import Clock
from palate.service.store.database import Database
from palate.service.store.errors import InvalidEntry, NotFound, Refused
from palate.service.store.schema import API_KEYS, TENANTS
from palate.service.store.tenants import DEFAULT, Tenants
from palate.service.store.texts import checked_name

#: read: rankings, posteriors, answers. write: feedback, withdrawals, erasure. admin: keys, models.
#: Each is given by itself; an admin key of a first start has all three.
SCOPES = ("read", "write", "admin")
#: What every key's text begins with, so that scanners for leaked secrets can know it.
PREFIX = "palate"
#: Limits and times are below it: it fits every column.
MOST = 2.0**31


@dataclass(frozen=True)
class ApiKey:
    """What may be known of a key: all but its text.

    id: its number. public: the part of its text that names it. ends: when it stops or stopped to
    be accepted, or None. per_second, per_day: how many requests it allows, None for any number.
    """

    id: int
    tenant: int
    public: str
    name: str
    scopes: frozenset[str]
    created: float
    ends: float | None
    per_second: float | None
    per_day: int | None

    def active(self, now: float) -> bool:
        """Whether it is accepted at a time."""
        return self.ends is None or now < self.ends

    def require(self, scope: str) -> None:
        """Raise `Refused` for a scope that the key has not."""
        if scope not in self.scopes:
            has = ", ".join(sorted(self.scopes))
            raise Refused(f"this needs a key with the scope '{scope}'; this key has: {has}")


class ApiKeys:
    """The keys of a database.

    A key's text is palate_<public>_<secret> with 256 random bits in the secret, so that SHA-256
    of it is hash enough: there is nothing to guess that a slow hash would protect.
    """

    def __init__(self, database: Database, tenants: Tenants, clock: Clock) -> None:
        self._database = database
        self._tenants = tenants
        self._clock = clock

    def create(
        self,
        tenant: int,
        scopes: Iterable[str],
        name: str = "",
        *,
        ends: float | None = None,
        per_second: float | None = None,
        per_day: int | None = None,
    ) -> tuple[ApiKey, str]:
        """A new key and its text, which cannot be had again; raises `InvalidEntry`, `Conflict`."""
        limits = {"ends": ends, "per_second": per_second, "per_day": per_day}
        row: dict[str, Any] = {"scopes": _checked_scopes(scopes), **_checked_limits(limits)}
        row |= {"tenant_id": tenant, "name": checked_name("the key's name", name or "key")}
        public, text = _draw()
        row |= {"public": public, "digest": _digest(text), "created": self._clock()}
        with self._database.write() as connection:
            made = connection.execute(insert(API_KEYS).values(row).returning(API_KEYS)).one()
        return _key(made), text

    def first(self) -> str | None:
        """The text of a new admin key of the tenant `default`, where there is no key at all."""
        with self._database.read() as connection:
            if connection.execute(select(API_KEYS.c.id).limit(1)).first():
                return None
        tenant = self._tenants.ensure(DEFAULT)
        public, text = _draw()
        row = {"tenant_id": tenant.id, "name": "first", "scopes": _checked_scopes(SCOPES)}
        row |= {"public": public, "digest": _digest(text), "created": self._clock()}
        with self._database.write() as connection:
            # of workers that start at once, the one that has the tenant makes the key
            lock = select(TENANTS.c.id).where(TENANTS.c.id == tenant.id).with_for_update()
            connection.execute(lock)
            if connection.execute(select(API_KEYS.c.id).limit(1)).first():
                return None
            connection.execute(insert(API_KEYS).values(row))
        return text

    def check(self, text: str) -> ApiKey:
        """The key of a text; raises `Refused` for one that is unknown, revoked or has ended."""
        query = select(API_KEYS).where(API_KEYS.c.digest == _digest(text))
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
        if row is None or not (key := _key(row)).active(self._clock()):
            raise Refused("the API key is unknown, or no longer accepted; ask for a new one")
        return key

    def all(self, tenant: int) -> list[ApiKey]:
        """A tenant's keys, also those that ended, the oldest first."""
        query = select(API_KEYS).where(API_KEYS.c.tenant_id == tenant).order_by(API_KEYS.c.id)
        with self._database.read() as connection:
            return [_key(row) for row in connection.execute(query)]

    def rotate(self, tenant: int, public: str, grace: float = 0.0) -> tuple[ApiKey, str]:
        """A new key with all that another has, which is accepted for `grace` more seconds.

        Raises `NotFound` where the tenant has no such key that is accepted.
        """
        old = self._active(tenant, public)
        kept = {"ends": old.ends, "per_second": old.per_second, "per_day": old.per_day}
        new, text = self.create(tenant, old.scopes, old.name, **kept)  # type: ignore[arg-type]
        self._end(tenant, public, grace)
        return new, text

    def revoke(self, tenant: int, public: str) -> None:
        """Accept a key no longer, from now on; raises `NotFound` as `rotate` does."""
        self._active(tenant, public)
        self._end(tenant, public, 0.0)

    def _active(self, tenant: int, public: str) -> ApiKey:
        for key in self.all(tenant):
            if key.public == public and key.active(self._clock()):
                return key
        raise NotFound(f"there is no key {public!r} that is accepted; `palate keys list` shows all")

    def _end(self, tenant: int, public: str, grace: float) -> None:
        if not (math.isfinite(grace) and grace >= 0):
            raise InvalidEntry(f"the time of grace is {grace}; expected seconds, 0 or more")
        ends = self._clock() + grace
        later: ColumnElement[bool] = or_(API_KEYS.c.ends.is_(None), API_KEYS.c.ends > ends)
        change = update(API_KEYS).where(
            API_KEYS.c.tenant_id == tenant, API_KEYS.c.public == public, later
        )
        with self._database.write() as connection:
            connection.execute(change.values(ends=ends))


def _draw() -> tuple[str, str]:
    """A key's public part and its text."""
    public = secrets.token_hex(6)
    return public, f"{PREFIX}_{public}_{secrets.token_urlsafe(32)}"


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="surrogatepass")).digest()


def _key(row: Row[Any]) -> ApiKey:
    limits = (row.ends, row.per_second, row.per_day)
    scopes = frozenset(row.scopes.split(","))
    return ApiKey(row.id, row.tenant_id, row.public, row.name, scopes, row.created, *limits)


def _checked_scopes(scopes: Iterable[str]) -> str:
    asked = set(scopes)
    unknown = sorted(asked.difference(SCOPES))
    if unknown or not asked:
        seen = ", ".join(unknown) or "none"
        raise InvalidEntry(f"scopes: {seen}; expected some of {', '.join(SCOPES)}")
    return ",".join(scope for scope in SCOPES if scope in asked)


def _checked_limits(limits: dict[str, float | None]) -> dict[str, float | None]:
    for name, value in limits.items():
        if value is not None and not 0 < value < MOST:
            raise InvalidEntry(f"{name} is {value}; expected a number above 0, below {MOST:g}")
    return limits
