"""Answers come in, in any order, any number of times, and the posterior is that of a refit."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from palate.adaptation.ageing import Ageing
from palate.errors import PosteriorError, SettingsError
from palate.service.store import Conflict, InvalidEntry, NewAnswer, NotFound, QuotaReached, Store
from palate.service.store import log as logs
from palate.service.tastes import OPTIMISTIC, Tastes
from palate.types import Comparison, Message
from tests.service import worlds
from tests.service.worlds import answer, assert_same, comparison, refit


def check(tastes: Tastes, tenant: int, user: str) -> None:
    """What is stored is a refit; so is what is made from the log alone."""
    profiles = tastes.making.profiles
    profile = tastes.profile(tenant, user)
    assert_same(profile, refit(tastes.store, profiles, tenant, user))
    with tastes.store.database.read() as connection:
        held = logs.look_up(connection, tenant, user, tastes.model.id)
    assert held.through == held.entries


@pytest.mark.parametrize("method", worlds.SMALL)
def test_a_posterior_is_a_refit_whatever_happens(method: str, store: Store, team: int) -> None:
    tastes = Tastes(store, worlds.made(method))
    chance = random.Random(0)
    for i in range(12):
        tastes.add(team, "alice", [answer(i)], f"key {i}")
    check(tastes, team, "alice")
    for number in chance.sample(range(1, 13), 4):
        tastes.withdraw(team, "alice", number)
        check(tastes, team, "alice")
    tastes.add(team, "alice", [answer(i) for i in (3, 14, 15, 4)])
    check(tastes, team, "alice")
    for entry in worlds.log_of(store, team, "alice"):
        if entry.kind == "answer":
            tastes.withdraw(team, "alice", entry.number)
    nobody = tastes.making.profiles.new()
    assert_same(tastes.profile(team, "alice"), nobody.posterior)


@pytest.mark.parametrize("method", ["vrf", "brf", "pref"])
def test_the_order_of_arrival_is_nothing(method: str, store: Store, team: int) -> None:
    """Late, out of order and twice: the same posterior."""
    tastes = Tastes(store, worlds.made(method))
    orders = [random.Random(seed).sample(range(15), 15) for seed in range(3)]
    found = []
    for number, order in enumerate(orders):
        user = f"user {number}"
        for i in order:
            tastes.add(team, user, [answer(i)], f"key {i}")
            if i % 4 == 0:
                tastes.add(team, user, [answer(i)], f"key {i}")
        found.append(tastes.profile(team, user))
    for other in found[1:]:
        assert_same(other, found[0].posterior, atol=1e-6)
        assert other.answers == found[0].answers


def test_a_receipt_says_what_is_there(tastes: Tastes, team: int) -> None:
    first = tastes.add(team, "alice", [answer(0), answer(1)], "one")
    assert (first.numbers, first.repeated) == ((1, 2), False)
    again = tastes.add(team, "alice", [answer(0), answer(1)], "one")
    assert (again.numbers, again.repeated) == ((1, 2), True)
    assert torch.equal(again.profile.posterior.mean, first.profile.posterior.mean)
    taken = tastes.withdraw(team, "alice", 1, "two")
    assert (taken.numbers, taken.repeated) == ((3,), False)
    assert tastes.withdraw(team, "alice", 1, "two").numbers == (3,)
    assert tastes.withdraw(team, "alice", 1).repeated
    assert len(worlds.log_of(tastes.store, team, "alice")) == 3
    assert len(taken.profile.answers) == 1


@pytest.mark.parametrize(
    "other",
    [
        [answer(1)],
        [answer(0), answer(1)],
        [answer(0, weight=0.5)],
        [answer(0, tie=True)],
        [NewAnswer(Comparison("prompt 0", "rejected answer 0", "chosen answer 0"))],
    ],
    ids=["another", "more", "weight", "tie", "opposite"],
)
def test_a_key_is_for_one_thing(other: list[NewAnswer], tastes: Tastes, team: int) -> None:
    tastes.add(team, "alice", [answer(0)], "key")
    with pytest.raises(Conflict, match="used for something else"):
        tastes.add(team, "alice", other, "key")
    with pytest.raises(Conflict, match="used for something else"):
        tastes.withdraw(team, "alice", 1, "key")
    tastes.add(team, "alice", [answer(0, time=99.0)], "key")  # a retry may have another time
    tastes.add(team, "bob", other, "key")
    assert len(worlds.log_of(tastes.store, team, "alice")) == 1


def test_a_withdrawn_answer_may_be_given_again(tastes: Tastes, team: int) -> None:
    tastes.add(team, "alice", [answer(0)], "key")
    tastes.withdraw(team, "alice", 1)
    repeated = tastes.add(team, "alice", [answer(0)], "key")  # a late repetition brings no return
    assert repeated.repeated
    assert not repeated.profile.answers
    (key, turn), *_ = repeated.profile.record.withdrawn.items()
    assert turn == 2
    again = tastes.add(team, "alice", [answer(0)])
    assert [(each.key, each.turn) for each in again.profile.answers] == [(key, 3)]
    check(tastes, team, "alice")


def test_an_answer_given_twice_counts_once_as_given_last(tastes: Tastes, team: int) -> None:
    tastes.add(team, "alice", [answer(0, weight=0.5)])
    once = tastes.add(team, "alice", [answer(0, weight=0.25, time=50.0)]).profile
    assert [(each.time, each.weight) for each in once.answers] == [(50.0, 0.5)]
    check(tastes, team, "alice")
    half = tastes.withdraw(team, "alice", 1).profile
    assert [(each.time, each.weight) for each in half.answers] == [(50.0, 0.25)]
    check(tastes, team, "alice")


def test_a_tie_is_half_an_answer_each_way(tastes: Tastes, team: int) -> None:
    tied = tastes.add(team, "alice", [answer(0, tie=True)]).profile
    assert [each.weight for each in tied.answers] == [0.5, 0.5]
    assert tied.has_answered(comparison(0))
    turned = Comparison("prompt 0", "rejected answer 0", "chosen answer 0")
    other = tastes.add(team, "bob", [NewAnswer(turned, tie=True, time=0.0)]).profile
    assert torch.equal(other.posterior.mean, tied.posterior.mean)
    tastes.add(team, "alice", [answer(0)])  # and then she makes up her mind
    check(tastes, team, "alice")


def test_conversations_and_odd_characters_come_back(tastes: Tastes, team: int) -> None:
    turns = (Message("user", "why\x00?"), Message("assistant", "“Så” 🤷\u2028"))
    odd = NewAnswer(Comparison(turns, "\x00", turns), origin="thumb", completion="c-1")
    tastes.add(team, "älice\u200b", [odd])
    (entry,) = worlds.log_of(tastes.store, team, "älice\u200b")
    assert entry.answer is not None
    assert entry.answer.comparison == odd.comparison
    assert (entry.answer.origin, entry.answer.completion) == ("thumb", "c-1")
    assert entry.answer.time == tastes.store.clock()


@pytest.mark.parametrize(
    ("user", "key"),
    [("", None), ("a" * 257, None), ("a\x00", None), ("\ud800", None), ("a", ""), ("a", "\x00")],
)
def test_names_that_are_none(user: str, key: str | None, tastes: Tastes, team: int) -> None:
    with pytest.raises(InvalidEntry):
        tastes.add(team, user, [answer(0)], key)


@pytest.mark.parametrize("number", [0, -1, 2**63, 10**30])
def test_numbers_that_are_none(number: int, tastes: Tastes, team: int) -> None:
    tastes.add(team, "alice", [answer(0)])
    with pytest.raises(InvalidEntry, match="numbered from 1"):
        tastes.withdraw(team, "alice", number)


def test_nothing_is_no_answer(tastes: Tastes, team: int) -> None:
    with pytest.raises(InvalidEntry, match="expected one or more"):
        tastes.add(team, "alice", [])
    for bad in ({"weight": 0.0}, {"weight": 1.5}, {"weight": float("nan")}, {"origin": ""}):
        with pytest.raises(InvalidEntry):
            answer(0, **bad)
    with pytest.raises(InvalidEntry, match="time"):
        answer(0, time=float("inf"))
    with pytest.raises(InvalidEntry, match="surrogate"):
        tastes.add(team, "alice", [NewAnswer(Comparison("p", "a\udc00", "b"))])
    with pytest.raises(NotFound):
        tastes.store.users.entries(team, "alice")


def test_only_answers_are_withdrawn(tastes: Tastes, team: int) -> None:
    tastes.add(team, "alice", [answer(0)])
    tastes.withdraw(team, "alice", 1)
    for number in (2, 3):
        with pytest.raises(NotFound, match=f"no answer {number}"):
            tastes.withdraw(team, "alice", number)
    with pytest.raises(NotFound):
        tastes.withdraw(team, "nobody", 1)
    assert tastes.store.users.names(team) == ["alice"]


def test_nobody_is_the_population(tastes: Tastes, team: int) -> None:
    profile = tastes.profile(team, "alice")
    assert_same(profile, tastes.making.profiles.new().posterior)
    assert tastes.store.users.names(team) == []


def test_a_user_has_so_many_answers(store: Store, team: int) -> None:
    tastes = Tastes(store, worlds.made(), most_answers=3)
    tastes.add(team, "alice", [answer(0), answer(1)])
    with pytest.raises(QuotaReached, match="3 answers"):
        tastes.add(team, "alice", [answer(2), answer(3)])
    tastes.add(team, "alice", [answer(2)])
    tastes.withdraw(team, "alice", 1)
    assert len(worlds.log_of(store, team, "alice")) == 4


def test_evidence_beyond_all_bounds_is_refused_and_nothing_is_kept(
    tastes: Tastes, team: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = tastes.making.profiles.reader
    monkeypatch.setattr(reader, "encode", lambda texts, progress=None: torch.full((2, 8), 1e30))
    with pytest.raises(PosteriorError):
        tastes.add(team, "alice", [answer(0)])
    assert tastes.store.users.names(team) == []


def test_old_answers_count_less(store: Store, team: int) -> None:
    profiles = worlds.made("pref")
    aged, whole = Tastes(store, profiles, half_life=4.0), Tastes(store, profiles)
    assert aged.model.id != whole.model.id
    for i in (2, 0, 9, 5):
        aged.add(team, "alice", [answer(i, weight=1.0, tie=False)])
    profile = aged.profile(team, "alice")
    assert profile.ageing == Ageing(4.0, 9.0)
    expected = profiles.age(whole.profile(team, "alice"), 4.0)
    assert_same(profile, expected.posterior)
    assert not torch.allclose(
        profile.posterior.mean, whole.profile(team, "alice").posterior.mean, atol=1e-3
    )
    with pytest.raises(SettingsError, match="half-life"):
        Tastes(store, profiles, half_life=0.0)


def test_two_at_once_are_as_one_after_the_other(tastes: Tastes, team: int) -> None:
    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(tastes.add, team, "alice", [answer(i)], f"key {i}") for i in range(40)]
        numbers = sorted(job.result().numbers[0] for job in jobs)
    assert numbers == list(range(1, 41))
    check(tastes, team, "alice")
    for i in range(40):
        tastes.add(team, "bob", [answer(i)])
    assert_same(tastes.profile(team, "alice"), tastes.profile(team, "bob").posterior, atol=1e-6)


def test_a_repetition_at_the_same_time_is_kept_once(tastes: Tastes, team: int) -> None:
    for key in range(5):
        with ThreadPoolExecutor(6) as pool:
            jobs = [
                pool.submit(tastes.add, team, "alice", [answer(key)], str(key)) for _ in range(6)
            ]
            found = {job.result().numbers for job in jobs}
        assert found == {(key + 1,)}
    assert len(worlds.log_of(tastes.store, team, "alice")) == 5


def test_who_is_always_overtaken_locks_the_user(
    tastes: Tastes, team: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tastes.add(team, "alice", [answer(0)])
    look, looks = logs.look_up, []

    def overtaken(*given: object, lock: bool = False, **more: object) -> logs.Held:
        held = look(*given, lock=lock, **more)  # type: ignore[arg-type]
        looks.append(lock)
        if not lock:
            with monkeypatch.context() as context:
                context.setattr(logs, "look_up", look)
                tastes.add(team, "alice", [answer(100 + len(looks))])
        return held

    monkeypatch.setattr(logs, "look_up", overtaken)
    tastes.add(team, "alice", [answer(1)])
    monkeypatch.undo()
    assert looks == [False] * OPTIMISTIC + [True]
    assert len(worlds.log_of(tastes.store, team, "alice")) == 2 + OPTIMISTIC
    check(tastes, team, "alice")


def test_a_damaged_state_is_made_again(tastes: Tastes, team: int) -> None:
    for i in range(3):
        tastes.add(team, "alice", [answer(i)])
    for column, content in (("state", b"x" * 7), ("posterior", b"y" * 3), ("posterior", b"")):
        with tastes.store.database.write() as connection:
            connection.exec_driver_sql(
                f"UPDATE posteriors SET {column} = {_quoted(content, connection.dialect.name)}"
            )
        check(tastes, team, "alice")
        tastes.add(team, "alice", [answer(10 + len(column))])
        check(tastes, team, "alice")


def _quoted(content: bytes, dialect: str) -> str:
    return f"x'{content.hex()}'" if dialect == "sqlite" else f"'\\x{content.hex()}'::bytea"
