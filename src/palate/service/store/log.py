"""Users' logs: looked up with what follows from them, read, and appended to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import Connection, Insert, Row, and_, bindparam, insert, select, update

from palate.service.store.entries import Entry, entry_of
from palate.service.store.schema import ENTRIES, POSTERIORS, USERS
from palate.service.store.texts import checked_name
from palate.service.store.upsert import upsert


@dataclass(frozen=True)
class Held:
    """A user's row with the posterior of one model.

    user: the row's number, None for a user who is not there. entries: how many the log has had,
    which is its version. through, state, posterior: what the model made of the first `through` of
    them; 0 and no bytes where it made nothing yet.
    """

    user: int | None = None
    entries: int = 0
    through: int = 0
    state: bytes = b""
    posterior: bytes = b""


def look_up(
    connection: Connection, tenant: int, name: str, model: int, *, lock: bool = False
) -> Held:
    """A user with the posterior of a model; `lock` keeps other writers of the user away."""
    query = _LOCKED if lock else _LOOK_UP
    given = {"tenant": tenant, "name": checked_name("the user's id", name), "model": model}
    row = connection.execute(query, given).one_or_none()
    return Held() if row is None else _held(row)


def look_up_rows(connection: Connection, users: Sequence[int], model: int) -> list[Held]:
    """Users by the numbers of their rows, with the posteriors of a model; without those erased."""
    query = _WITH_POSTERIOR.where(USERS.c.id.in_(users))
    return [_held(row) for row in connection.execute(query, {"model": model})]


def _held(row: Row[Any, Any, Any, Any, Any]) -> Held:
    if row.through is None:
        return Held(row.id, row.entries)
    return Held(row.id, row.entries, row.through, row.state, row.posterior)


def entries_after(connection: Connection, held: Held, after: int) -> list[Entry]:
    """A user's entries numbered after + 1 ... held.entries, in order."""
    if held.user is None or after >= held.entries:
        return []
    given = {"user": held.user, "after": after, "last": held.entries}
    return [entry_of(row) for row in connection.execute(_AFTER, given)]


def entries_once(connection: Connection, held: Held, idempotency: str | None) -> list[Entry]:
    """What was stored under an idempotency key, in order."""
    if held.user is None or idempotency is None:
        return []
    given = {"user": held.user, "key": idempotency}
    return [entry_of(row) for row in connection.execute(_ONCE, given)]


def append(
    connection: Connection, tenant: int, name: str, held: Held, entries: Sequence[Entry], now: float
) -> int | None:
    """Entries behind those that `held` saw; the user's row, or None where others came first.

    The optimistic lock: the log still has as many entries as were seen, or the user is still not
    there. Where None is given, nothing may be committed.
    """
    last = entries[-1].number
    user = held.user
    if user is None:
        values = {"tenant_id": tenant, "name": name, "created": now, "entries": last}
        user = connection.execute(_new_user(connection.dialect.name), values).scalar_one_or_none()
    else:
        change = {"user": user, "seen": held.entries, "last": last}
        if connection.execute(_COUNT, change).rowcount != 1:
            return None
    if user is not None:
        connection.execute(_NEW_ENTRIES, [{"user_id": user, **entry.row()} for entry in entries])
    return user


def keep_posterior(
    connection: Connection, user: int, model: int, through: int, state: bytes, posterior: bytes
) -> None:
    """Keep what a model makes of a log's first entries, unless one of more is there.

    It is a function of those entries: whoever writes it writes the same, and no lock is needed.
    """
    row: dict[str, Any] = {"user_id": user, "model_id": model, "through": through}
    row |= {"state": state, "posterior": posterior}
    connection.execute(_posterior(connection.dialect.name), row)


def ensure_user(connection: Connection, tenant: int, name: str, now: float) -> int:
    """The number of a user's row, made where there is none; in a transaction that writes."""
    where = (USERS.c.tenant_id == tenant, USERS.c.name == checked_name("the user's id", name))
    query = select(USERS.c.id).where(*where)
    found = connection.execute(query).scalar_one_or_none()
    if found is None:
        values = {"tenant_id": tenant, "name": name, "created": now, "entries": 0}
        connection.execute(_new_user(connection.dialect.name), values)
        found = connection.execute(query).scalar_one()
    return int(found)


# -- statements, made once ------------------------------------------------------------------------


_WITH_POSTERIOR = (
    select(
        *(USERS.c.id, USERS.c.entries),
        *(POSTERIORS.c.through, POSTERIORS.c.state, POSTERIORS.c.posterior),
    )
    .select_from(USERS)
    .outerjoin(
        POSTERIORS,
        and_(POSTERIORS.c.user_id == USERS.c.id, POSTERIORS.c.model_id == bindparam("model")),
    )
)
_LOOK_UP = _WITH_POSTERIOR.where(
    USERS.c.tenant_id == bindparam("tenant"), USERS.c.name == bindparam("name")
)
_LOCKED = _LOOK_UP.with_for_update(of=USERS)
_COUNT = (
    update(USERS)
    .where(USERS.c.id == bindparam("user"), USERS.c.entries == bindparam("seen"))
    .values(entries=bindparam("last"))
)
_OWN = ENTRIES.c.user_id == bindparam("user")
_AFTER = (
    select(ENTRIES)
    .where(_OWN, ENTRIES.c.number > bindparam("after"), ENTRIES.c.number <= bindparam("last"))
    .order_by(ENTRIES.c.number)
)
_ONCE = select(ENTRIES).where(_OWN, ENTRIES.c.idempotency == bindparam("key"))
_ONCE = _ONCE.order_by(ENTRIES.c.part)
_NEW_ENTRIES = insert(ENTRIES)


@cache
def _new_user(dialect: str) -> Insert:
    return upsert(dialect, USERS).on_conflict_do_nothing().returning(USERS.c.id)


@cache
def _posterior(dialect: str) -> Insert:
    made = upsert(dialect, POSTERIORS)
    new = made.excluded
    return made.on_conflict_do_update(
        index_elements=["user_id", "model_id"],
        set_={"through": new.through, "state": new.state, "posterior": new.posterior},
        where=POSTERIORS.c.through <= new.through,
    )
