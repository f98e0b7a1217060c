"""Alice owns, Bob is on her team, Charlie must see nothing: on every function with a tenant."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import pytest

from palate.service.store import Completion, Conflict, InvalidEntry, NotFound, Store
from palate.service.store.completions import Completions
from palate.service.store.keys import ApiKeys
from palate.service.store.retention import Retention
from palate.service.store.users import Users
from palate.service.tastes import Tastes
from tests.service import worlds
from tests.service.worlds import answer, assert_same, refit


@pytest.fixture
def alice(tastes: Tastes, team: int) -> str:
    """Her answers and a completion."""
    tastes.add(team, "alice", [answer(i) for i in range(4)], "key")
    tastes.store.completions.keep(team, "alice", worlds.SERVED)
    return "alice"


#: What Charlie may try; each must say that there is nothing.
TRIES: dict[str, Callable[[Tastes, int, str], object]] = {
    "entries": lambda tastes, tenant, user: tastes.store.users.entries(tenant, user),
    "entry": lambda tastes, tenant, user: tastes.store.users.entry(tenant, user, 1),
    "export": lambda tastes, tenant, user: tastes.store.users.export(tenant, user),
    "erase": lambda tastes, tenant, user: tastes.erase(tenant, user),
    "users.erase": lambda tastes, tenant, user: tastes.store.users.erase(tenant, user),
    "withdraw": lambda tastes, tenant, user: tastes.withdraw(tenant, user, 1),
    "find": lambda tastes, tenant, user: tastes.store.completions.find(tenant, worlds.SERVED.id),
}


@pytest.mark.parametrize("name", TRIES)
def test_charlie_sees_nothing(
    name: str, tastes: Tastes, team: int, stranger: int, alice: str
) -> None:
    with pytest.raises(NotFound) as refused:
        TRIES[name](tastes, stranger, alice)
    nobody: pytest.ExceptionInfo[NotFound]
    with pytest.raises(NotFound) as nobody:
        TRIES[name](tastes, team + 100, alice)
    assert str(refused.value) == str(nobody.value)
    profile = tastes.profile(team, alice)
    assert_same(profile, refit(tastes.store, tastes.making.profiles, team, alice))
    assert TRIES[name](tastes, team, alice) is not None  # as Bob may


def test_charlies_alice_is_another(tastes: Tastes, team: int, stranger: int, alice: str) -> None:
    """The same id, the same idempotency key, the same completion's id: nothing is shared."""
    assert len(tastes.profile(stranger, alice).answers) == 0
    assert tastes.store.users.names(stranger) == []
    receipt = tastes.add(stranger, alice, [answer(9)], "key")
    assert (receipt.numbers, receipt.repeated) == ((1,), False)
    tastes.store.completions.keep(stranger, alice, Completion("c-1", "p", ("a",), 0))
    with pytest.raises(Conflict, match="'c-1'"):
        tastes.store.completions.keep(team, "bob", worlds.SERVED)
    assert tastes.store.completions.find(team, "c-1") == (alice, worlds.SERVED)
    tastes.erase(stranger, alice)
    assert len(tastes.store.users.entries(team, alice)) == 4
    assert tastes.store.completions.find(team, "c-1") == (alice, worlds.SERVED)
    assert len(tastes.profile(team, alice).answers) == 4


def test_a_posterior_is_not_shared_in_a_team(tastes: Tastes, team: int, alice: str) -> None:
    tastes.add(team, "bob", [answer(7)], "key")
    for user in (alice, "bob"):
        fitted = refit(tastes.store, tastes.making.profiles, team, user)
        assert_same(tastes.profile(team, user), fitted)


def test_no_function_escapes() -> None:
    """Every public function of what holds users' things takes the tenant first."""
    exempt = {"Completions.expire", "Retention.expire", "ApiKeys.first", "ApiKeys.check"}
    for kind in (Users, Completions, ApiKeys, Retention, Tastes):
        for name, function in inspect.getmembers(kind, inspect.isfunction):
            if not name.startswith("_") and f"{kind.__name__}.{name}" not in exempt:
                assert list(inspect.signature(function).parameters)[1] == "tenant", name
    tried = {"withdraw", "erase", "entries", "entry", "export"}
    public = {n for n, _ in inspect.getmembers(Users, inspect.isfunction) if n[0] != "_"}
    assert public - {"names"} <= tried | set(TRIES)


def test_pages(tastes: Tastes, team: int, store: Store) -> None:
    for user in ("b", "a", "ä", "c"):
        tastes.add(team, user, [answer(i) for i in range(5)])
    assert store.users.names(team, limit=2) == ["a", "b"]
    assert store.users.names(team, "b", 10) == ["c", "ä"]
    assert [entry.number for entry in store.users.entries(team, "a", 2, 2)] == [3, 4]
    assert store.users.entry(team, "a", 5).answer == answer(4)
    with pytest.raises(NotFound, match="no entry 6"):
        store.users.entry(team, "a", 6)
    for after in (-1, 2**63, 10**30):
        with pytest.raises(InvalidEntry, match="no entry"):
            store.users.entries(team, "a", after)
    with pytest.raises(InvalidEntry, match="NUL"):
        store.users.names(team, "a\x00")
    for limit in (0, -1, 10**6):
        with pytest.raises(InvalidEntry, match="page of"):
            store.users.names(team, limit=limit)
