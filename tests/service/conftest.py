"""A store on each database, and the cast: Alice owns, Bob is on her team, Charlie is a stranger."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from palate.service.store import Store
from palate.service.tastes import Tastes
from tests.service import worlds
from tests.service.private_postgresql import ADVICE, PrivateServer, binaries, private_server

KINDS = ("sqlite", "postgresql")


class Clock:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PrivateServer]:
    """One server for all tests of a session; it need not outlive the machine."""
    if binaries() is None and not os.environ.get("CI"):
        pytest.skip(ADVICE)
    with private_server(durable=False, settings="-c max_connections=200") as server:
        yield server


def new_url(kind: str, request: pytest.FixtureRequest, folder: Path) -> str:
    """The URL of an empty database; on PostgreSQL all tests have the same, one after the other."""
    if kind == "sqlite":
        return f"sqlite:///{folder / 'palate.db'}"
    server: PrivateServer = request.getfixturevalue("postgresql")
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    return server.url()


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database without tables, of either kind."""
    return new_url(request.param, request, tmp_path)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(url: str, clock: Clock) -> Iterator[Store]:
    """An open store."""
    opened = Store.open(url, clock)
    yield opened
    opened.close()


@pytest.fixture
def team(store: Store) -> int:
    """The tenant of Alice and Bob."""
    return store.tenants.create("team").id


@pytest.fixture
def stranger(store: Store) -> int:
    """Charlie's tenant."""
    return store.tenants.create("charlie").id


@pytest.fixture
def tastes(store: Store) -> Tastes:
    """VRF's users."""
    return Tastes(store, worlds.made("vrf"))
