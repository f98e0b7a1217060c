"""A new model's posteriors are made from the answers, in batches, again and again until done."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager, nullcontext

import pytest

from palate.progress import Advance, Silent
from palate.service.rollover import rebuild, roll_over
from palate.service.store import Conflict, NotFound, Store, log
from palate.service.tastes import Tastes
from tests.service import worlds
from tests.service.worlds import answer, assert_same, refit

USERS = [f"user {i}" for i in range(23)]


@pytest.fixture
def old(store: Store, team: int) -> Tastes:
    """23 users' answers under the model that serves, some withdrawn; one user without any."""
    tastes = Tastes(store, worlds.made("vrf"))
    store.models.switch(tastes.model.identity)
    for number, user in enumerate(USERS):
        tastes.add(team, user, [answer(i) for i in range(number % 6 + 1)])
        if number % 4 == 0:
            tastes.withdraw(team, user, 1)
    tastes.store.completions.keep(team, "nobody", worlds.SERVED)
    return tastes


@pytest.fixture
def new(store: Store) -> Tastes:
    """Another model, of another method."""
    return Tastes(store, worlds.made("pref", seed=1))


def check_all(tastes: Tastes, team: int) -> None:
    """Nobody is behind, and everybody's posterior is a refit."""
    assert tastes.store.models.behind(tastes.model.identity) == 0
    for user in tastes.store.users.names(team):
        fitted = refit(tastes.store, tastes.making.profiles, team, user)
        assert_same(tastes.profile(team, user), fitted)


def test_all_users_come_along(old: Tastes, new: Tastes, team: int) -> None:
    models = old.store.models
    assert models.behind(new.model.identity) == len(USERS)
    roll_over(new, batch=5)
    assert models.serving() == new.model
    check_all(new, team)
    check_all(old, team)
    assert rebuild(new) == 0


def test_it_stops_and_goes_on(old: Tastes, new: Tastes, team: int) -> None:
    asked = iter([False, False, True])
    assert rebuild(new, batch=4, stop=lambda: next(asked)) == 8
    assert old.store.models.behind(new.model.identity) == len(USERS) - 8
    again = Tastes(old.store, worlds.made("pref", seed=1))  # another process
    assert rebuild(again, batch=100) == len(USERS) - 8
    check_all(new, team)


def test_two_at_once(old: Tastes, new: Tastes, team: int) -> None:
    threads = [threading.Thread(target=rebuild, args=(new,), kwargs={"batch": 3}) for _ in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check_all(new, team)


def test_answers_come_meanwhile(old: Tastes, new: Tastes, team: int) -> None:
    """Under the old model, while the new one's are made: nobody's is lost to either."""
    rounds = iter(range(1000))

    def meanwhile() -> bool:
        i = next(rounds)
        old.add(team, USERS[0], [answer(50 + i)])
        old.add(team, USERS[-1], [answer(50 + i)])
        new.add(team, USERS[i % 23], [answer(80 + i)])
        return False

    rebuild(new, batch=5, stop=meanwhile)
    assert old.store.models.behind(new.model.identity) > 0
    for user in USERS:  # when they are asked for
        fitted = refit(old.store, new.making.profiles, team, user)
        assert_same(new.profile(team, user), fitted)
    for user in USERS:
        old.profile(team, user)
    check_all(new, team)
    check_all(old, team)


def test_users_who_are_erased_meanwhile(
    old: Tastes, new: Tastes, team: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = log.look_up_rows
    gone = iter(USERS[::3])

    def erased(*given: object) -> list[log.Held]:
        held = look(*given)  # type: ignore[arg-type]
        old.erase(team, next(gone))
        return held

    monkeypatch.setattr(log, "look_up_rows", erased)
    made = rebuild(new, batch=6)
    left = len(old.store.users.names(team)) - 1
    assert left == len(USERS) - 4
    assert left <= made < len(USERS)
    check_all(new, team)


def test_progress_is_told(old: Tastes, new: Tastes) -> None:
    class Counting(Silent):
        total, done = 0, 0

        def track(self, step: str, total: int) -> AbstractContextManager[Advance]:
            Counting.total = total

            def advance(count: int) -> None:
                Counting.done += count

            return nullcontext(advance)

    rebuild(new, batch=7, progress=Counting())
    assert Counting.total == Counting.done == len(USERS)


def test_a_model_that_serves_stays(old: Tastes, new: Tastes, team: int) -> None:
    models = old.store.models
    with pytest.raises(Conflict, match="serves"):
        models.forget(old.model.identity)
    roll_over(new)
    models.forget(old.model.identity)
    assert models.all() == [new.model]
    with pytest.raises(NotFound):
        models.forget(old.model.identity)
    again = Tastes(old.store, worlds.made("vrf"))
    assert again.model.id > new.model.id
    assert models.behind(again.model.identity) == len(USERS)
    check_all(new, team)


def test_nothing_serves_at_first(store: Store) -> None:
    assert store.models.serving() is None
    known = store.models.switch("one")
    assert store.models.switch("one") == known == store.models.serving()
    assert store.models.switch("two").identity == "two"
    assert [model.identity for model in store.models.all()] == ["one", "two"]
