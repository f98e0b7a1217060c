"""How connections are set, and what a transaction is."""

from __future__ import annotations

import pytest

from palate.errors import StoreError
from palate.service.store import Store, StoreUnavailable
from palate.service.store.database import Database
from tests.service.private_postgresql import PrivateServer


def setting(store: Store, name: str, *, writing: bool = False) -> str:
    database = store.database
    question = f"PRAGMA {name}" if database.is_sqlite else f"SHOW {name}"
    with database.write() if writing else database.read() as connection:
        return str(connection.exec_driver_sql(question).scalar_one())


def test_connections_are_safe_and_do_not_wait_for_ever(store: Store) -> None:
    sqlite = {
        "journal_mode": "wal",
        "synchronous": "2",  # full: on the disk when it is acknowledged
        "foreign_keys": "1",
        "secure_delete": "1",
        "busy_timeout": "5000",
    }
    postgresql = {
        "statement_timeout": "5s",
        "lock_timeout": "5s",
        "idle_in_transaction_session_timeout": "10s",
        "application_name": "palate",
    }
    for name, value in (sqlite if store.database.is_sqlite else postgresql).items():
        for writing in (False, True):
            assert setting(store, name, writing=writing) == value, name


def test_a_transaction_is_whole_or_absent(store: Store) -> None:
    insert = "INSERT INTO tenants (name, created) VALUES ('new', 0)"
    with pytest.raises(StoreError), store.database.write() as connection:
        connection.exec_driver_sql(insert + ", ('new', 0)")
    with pytest.raises(ZeroDivisionError), store.database.write() as connection:
        connection.exec_driver_sql(insert).rowcount // 0
    assert store.tenants.all() == []
    with store.database.write() as connection:
        connection.exec_driver_sql(insert)
        assert store.tenants.all() == []  # others do not see it yet
    assert [tenant.name for tenant in store.tenants.all()] == ["new"]


def test_reading_takes_no_lock(store: Store) -> None:
    with store.database.read() as reading:
        reading.exec_driver_sql("SELECT * FROM tenants").all()
        store.tenants.create("new")
        assert len(reading.exec_driver_sql("SELECT * FROM tenants").all()) == 1


def test_rows_that_cannot_be_are_refused_by_the_database_itself(store: Store) -> None:
    tenant = store.tenants.create("team").id
    user = f"INSERT INTO users (tenant_id, name, created, entries) VALUES ({tenant}, 'a', 0, 0)"
    entry = (
        "INSERT INTO entries (user_id, number, kind, received, part, target, prompt) "
        "SELECT id, 1, {}, 0, 0, {}, {} FROM users"
    )
    with store.database.write() as connection:
        connection.exec_driver_sql(user)
    for statement in (
        user,
        entry.format("'answer'", "NULL", "'x'"),
        entry.format("'withdrawal'", "1", "'a text'"),
        entry.format("'withdrawal'", "NULL", "NULL"),
        entry.format("'other'", "1", "NULL"),
        "INSERT INTO serving (id, model_id, since) VALUES (2, 1, 0)",
        "INSERT INTO users (tenant_id, name, created, entries) VALUES (99, 'a', 0, 0)",
    ):
        with pytest.raises(StoreError), store.database.write() as connection:
            connection.exec_driver_sql(statement)
    with store.database.write() as connection:
        connection.exec_driver_sql(entry.format("'withdrawal'", "1", "NULL"))


def test_a_url_may_set_more(postgresql: PrivateServer) -> None:
    other = Database(f"{postgresql.url()}&application_name=other&connect_timeout=9")
    with other.read() as connection:
        assert connection.exec_driver_sql("SHOW application_name").scalar_one() == "other"
    other.close()


def test_a_statement_that_takes_too_long_is_given_up(url: str) -> None:
    store = Store.open(url, timeout=0.3)
    if not store.database.is_sqlite:
        with pytest.raises(StoreUnavailable), store.database.read() as connection:
            connection.exec_driver_sql("SELECT pg_sleep(5)")
    assert store.tenants.all() == []
    store.close()
