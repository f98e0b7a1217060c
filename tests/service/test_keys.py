"""Keys are shown once, kept as hashes, and accepted as long as they should be."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor

import pytest

from palate.service.store import Conflict, InvalidEntry, NotFound, Refused, Store
from tests.service.conftest import Clock


def test_a_first_start_makes_one_key_and_shows_it_once(store: Store) -> None:
    with ThreadPoolExecutor(6) as pool:
        found = [job.result() for job in [pool.submit(store.keys.first) for _ in range(6)]]
    (text,) = [each for each in found if each is not None]
    key = store.keys.check(text)
    assert key.scopes == {"read", "write", "admin"}
    assert store.tenants.named("default").id == key.tenant
    assert store.keys.first() is None
    assert len(store.keys.all(key.tenant)) == 1


def test_a_key_is_what_it_was_made(store: Store, team: int) -> None:
    made, text = store.keys.create(team, ["write", "read"], "app", per_second=2.5, per_day=100)
    assert store.keys.check(text) == made
    assert text.startswith(f"palate_{made.public}_")
    assert (made.tenant, made.name, made.scopes) == (team, "app", {"read", "write"})
    assert (made.per_second, made.per_day) == (2.5, 100)
    made.require("write")
    with pytest.raises(Refused, match="scope 'admin'; this key has: read, write"):
        made.require("admin")


@pytest.mark.parametrize("text", ["", "palate_", "\ud800", "palate_a_b", "x" * 10_000])
def test_a_text_that_is_no_key(text: str, store: Store) -> None:
    with pytest.raises(Refused, match="unknown"):
        store.keys.check(text)


def test_part_of_a_key_is_none(store: Store, team: int) -> None:
    _, text = store.keys.create(team, ["read"])
    for other in (text[:-1], text + "x", text.upper(), text.rsplit("_", 1)[0]):
        with pytest.raises(Refused):
            store.keys.check(other)


def test_keys_end(store: Store, clock: Clock, team: int) -> None:
    _, brief = store.keys.create(team, ["read"], ends=clock.now + 60)
    revoked, text = store.keys.create(team, ["read"])
    store.keys.revoke(team, revoked.public)
    with pytest.raises(Refused):
        store.keys.check(text)
    store.keys.check(brief)
    clock.now += 60
    with pytest.raises(Refused):
        store.keys.check(brief)
    with pytest.raises(NotFound, match=revoked.public):
        store.keys.revoke(team, revoked.public)
    assert len(store.keys.all(team)) == 2


def test_a_rotated_key_has_some_grace(store: Store, clock: Clock, team: int) -> None:
    old, before = store.keys.create(team, ["read", "write"], "app", per_day=7)
    new, after = store.keys.rotate(team, old.public, grace=3600)
    assert before != after
    assert (new.name, new.scopes, new.per_day) == ("app", old.scopes, 7)
    clock.now += 3599
    store.keys.check(before)
    clock.now += 1
    with pytest.raises(Refused):
        store.keys.check(before)
    assert store.keys.check(after) == new
    with pytest.raises(NotFound):
        store.keys.rotate(team, old.public)


def test_a_key_is_its_tenants(store: Store, team: int, stranger: int) -> None:
    made, text = store.keys.create(team, ["admin"])
    for act in (store.keys.revoke, store.keys.rotate):
        with pytest.raises(NotFound):
            act(stranger, made.public)
    assert store.keys.all(stranger) == []
    assert store.keys.check(text).tenant == team


@pytest.mark.parametrize("scopes", [[], ["reed"], ["read", "root"]])
def test_scopes_that_are_none(scopes: list[str], store: Store, team: int) -> None:
    with pytest.raises(InvalidEntry, match="expected some of read, write, admin"):
        store.keys.create(team, scopes)


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), 2**40])
@pytest.mark.parametrize("name", ["per_second", "per_day", "ends"])
def test_limits_that_are_none(name: str, value: float, store: Store, team: int) -> None:
    with pytest.raises(InvalidEntry, match=name):
        store.keys.create(team, ["read"], **{name: value})  # type: ignore[arg-type]


def test_the_database_does_not_know_a_keys_text(store: Store, team: int) -> None:
    _, text = store.keys.create(team, ["read"])
    if not store.database.is_sqlite:
        with store.database.read() as connection:
            rows = str(connection.exec_driver_sql("SELECT * FROM api_keys").all())
        assert text.rsplit("_", 1)[1] not in rows
        return
    with sqlite3.connect(store.database.url.database or "") as connection:
        assert text.rsplit("_", 1)[1] not in "\n".join(connection.iterdump())


def test_tenants(store: Store, team: int) -> None:
    assert store.tenants.named("team").id == store.tenants.ensure("team").id == team
    with pytest.raises(Conflict, match="'team'"):
        store.tenants.create("team")
    with pytest.raises(NotFound, match="'teem'"):
        store.tenants.named("teem")
    with pytest.raises(Conflict):
        store.keys.create(999, ["read"])
    with ThreadPoolExecutor(6) as pool:
        ids = {job.result().id for job in [pool.submit(store.tenants.ensure, "new")] * 6}
    assert len(ids) == 1
    assert [tenant.name for tenant in store.tenants.all()] == ["team", "new"]


def test_an_erased_tenant_leaves_no_keys(store: Store, team: int, stranger: int) -> None:
    _, text = store.keys.create(team, ["read"])
    _, other = store.keys.create(stranger, ["read"])
    store.tenants.erase(team)
    with pytest.raises(Refused):
        store.keys.check(text)
    store.keys.check(other)
    with pytest.raises(NotFound):
        store.tenants.erase(team)
    assert store.tenants.create("team").id > stranger
