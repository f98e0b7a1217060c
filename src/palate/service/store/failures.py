"""Errors of the database into those of the store, and no stored value into any message."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import (
    DBAPIError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as NoConnectionFree

from palate.errors import StoreError
from palate.service.store.errors import Conflict, StoreUnavailable

#: Classes of PostgreSQL's states that pass: connection, transaction rolled back, resources,
#: object in use (locks), operator intervention, system error.
PASSING = ("08", "40", "53", "55", "57", "58")


@contextmanager
def classified(name: str) -> Iterator[None]:
    """Raise `StoreUnavailable`, `Conflict` or `StoreError` for what the database `name` raises."""
    try:
        yield
    except NoConnectionFree as error:
        raise StoreUnavailable(f"all connections to {name} are taken") from error
    except IntegrityError as error:  # its own message holds values
        raise Conflict(f"{name} refuses a row: {type(error.orig).__name__}") from None
    except (OperationalError, InterfaceError) as error:
        raise StoreUnavailable(f"{name} does not answer: {_said(error)}") from None
    except DBAPIError as error:
        if error.connection_invalidated or _state(error)[:2] in PASSING:
            raise StoreUnavailable(f"{name} does not answer: {_said(error)}") from None
        raise StoreError(f"{name} fails: {_said(error)}") from None
    except SQLAlchemyError as error:
        raise StoreError(f"{name} fails: {type(error).__name__}") from error


def _state(error: DBAPIError) -> str:
    return getattr(error.orig, "sqlstate", None) or ""


def _said(error: DBAPIError) -> str:
    """The first line: PostgreSQL's further ones (DETAIL, CONTEXT) quote rows."""
    lines = str(error.orig).strip().splitlines()
    return f"{type(error.orig).__name__}: {lines[0] if lines else 'no reason given'}"
