"""Erased means that no text of hers is in any file of the database, nor are features of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from palate import PersonalRewardModel, PreferenceData
from palate.service.store import Completion, NewAnswer, NotFound, Store, StoreUnavailable
from palate.service.tastes import Tastes
from palate.types import Comparison
from tests import toy as world
from tests.service import worlds
from tests.service.conftest import Clock
from tests.service.worlds import answer, assert_same, log_of, refit

#: A word of hers, in texts of every length that a page, or more than one, may hold.
WORD = "zanzibarmauve"
LENGTHS = (1, 30, 400, 3000, 9000)


def hers(i: int) -> NewAnswer:
    """An answer full of her word."""
    text = f"{WORD} {i} " * LENGTHS[i % len(LENGTHS)]
    return NewAnswer(Comparison(f"{WORD} prompt {i}", text, f"other {WORD} {i}"), time=float(i))


def files_hold(store: Store, word: str) -> list[str]:
    """Names of the database's files that hold a word."""
    assert store.database.url.database is not None
    folder = Path(store.database.url.database).parent
    return [path.name for path in sorted(folder.iterdir()) if word.encode() in path.read_bytes()]


def rows_hold(store: Store, word: str) -> bool:
    """Whether any row of any table holds a word."""
    from palate.service.store.schema import METADATA

    with store.database.read() as connection:
        tables = [connection.execute(table.select()).all() for table in METADATA.sorted_tables]
    return word in str(tables)


def fill(tastes: Tastes, team: int) -> None:
    """Alice among others, whose rows are mixed with hers page by page."""
    for i in range(40):
        tastes.add(team, f"{WORD} alice", [hers(i)], f"{WORD} {i}")
        tastes.add(team, f"user {i % 7}", [answer(i)])
        served = Completion(f"c-{i}", f"{WORD}?", (f"{WORD} yes", "no" * i), 0)
        tastes.store.completions.keep(team, f"{WORD} alice", served)
    for number in (3, 17, 29):
        tastes.withdraw(team, f"{WORD} alice", number)


def test_nothing_of_hers_is_left(tastes: Tastes, team: int) -> None:
    fill(tastes, team)
    store = tastes.store
    assert rows_hold(store, WORD)
    assert not store.database.is_sqlite or files_hold(store, WORD)
    erased = tastes.erase(team, f"{WORD} alice")
    assert (erased.entries, erased.completions) == (43, 40)
    assert WORD not in repr(erased)
    assert not rows_hold(store, WORD)
    if store.database.is_sqlite:
        assert not erased.traces
        assert files_hold(store, WORD) == []
    else:
        assert erased.traces
    with pytest.raises(NotFound):
        tastes.erase(team, f"{WORD} alice")
    for i in range(7):
        fitted = refit(store, tastes.making.profiles, team, f"user {i}")
        assert_same(tastes.profile(team, f"user {i}"), fitted)


def test_a_reader_keeps_traces_and_it_is_said(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path / 'palate.db'}", timeout=0.2)
    tastes, team = Tastes(store, worlds.made()), store.tenants.create("team").id
    fill(tastes, team)
    with store.database.read() as reading:
        reading.exec_driver_sql("BEGIN")
        reading.exec_driver_sql("SELECT * FROM users").all()
        assert tastes.erase(team, f"{WORD} alice").traces
        reading.exec_driver_sql("ROLLBACK")
    assert store.database.wipe()
    assert files_hold(store, WORD) == []
    store.close()


def test_traces_may_be_wiped_later(tastes: Tastes, team: int) -> None:
    fill(tastes, team)
    assert tastes.erase(team, f"{WORD} alice", wipe=False).traces
    assert not rows_hold(tastes.store, WORD)
    assert tastes.store.database.wipe() == tastes.store.database.is_sqlite
    assert not tastes.store.database.is_sqlite or files_hold(tastes.store, WORD) == []


def test_erased_is_erased_where_the_wiping_fails(
    tastes: Tastes, team: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails() -> bool:
        raise StoreUnavailable("no answer")

    fill(tastes, team)
    monkeypatch.setattr(tastes.store.database, "wipe", fails)
    assert tastes.erase(team, f"{WORD} alice").traces
    assert not rows_hold(tastes.store, WORD)


def test_what_comes_later_is_a_new_users(tastes: Tastes, team: int) -> None:
    tastes.add(team, "alice", [answer(0)], "key")
    tastes.erase(team, "alice")
    assert len(tastes.profile(team, "alice").answers) == 0
    receipt = tastes.add(team, "alice", [answer(1)], "key")
    assert (receipt.numbers, receipt.repeated) == ((1,), False)
    assert_same(receipt.profile, refit(tastes.store, tastes.making.profiles, team, "alice"))


def test_an_answer_on_its_way_does_not_revive_her(
    tastes: Tastes, team: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was seen before the erasure and comes after it: the posterior has it alone."""
    from palate.service.store import log

    tastes.add(team, "alice", [hers(0), hers(1)])
    look = log.look_up

    def erased_meanwhile(*given: object, **more: object) -> log.Held:
        held = look(*given, **more)  # type: ignore[arg-type]
        monkeypatch.setattr(log, "look_up", look)
        tastes.erase(team, "alice")
        return held

    monkeypatch.setattr(log, "look_up", erased_meanwhile)
    receipt = tastes.add(team, "alice", [answer(5)])
    assert receipt.numbers == (1,)
    assert_same(receipt.profile, refit(tastes.store, tastes.making.profiles, team, "alice"))
    assert not rows_hold(tastes.store, WORD)


def test_the_export_is_all_and_json(tastes: Tastes, team: int) -> None:
    fill(tastes, team)
    user = f"{WORD} alice"
    export = json.loads(json.dumps(tastes.store.users.export(team, user)))
    assert export["user"] == user
    entries = export["entries"]
    assert [entry["number"] for entry in entries] == list(range(1, 44))
    assert entries[0]["chosen"] == hers(0).comparison.chosen
    assert entries[40] == {
        "number": 41,
        "kind": "withdrawal",
        "received": tastes.store.clock(),
        "target": 3,
    }
    assert {served["id"] for served in export["completions"]} == {f"c-{i}" for i in range(40)}
    assert export["completions"][0]["candidates"][0] == f"{WORD} yes"


def test_what_is_too_old_goes(tastes: Tastes, team: int, clock: Clock) -> None:
    store = tastes.store
    other = Tastes(store, worlds.made("pref"))
    for i in range(6):
        tastes.add(team, "alice", [hers(i)], f"{WORD} {i}")
        tastes.add(team, "bob", [answer(i)])
        store.completions.keep(team, "alice", Completion(f"old {i}", WORD, (WORD,), 0))
        clock.now += 10
    tastes.withdraw(team, "alice", 2)
    tastes.add(team, "alice", [answer(7)])
    other.profile(team, "bob")
    expired = store.retention.expire(25)
    assert (expired.users, expired.entries, expired.completions) == (2, 8, 4)
    assert [entry.kind for entry in log_of(store, team, "alice")] == [
        *("answer", "answer", "withdrawal", "answer", "expiry")
    ]
    for each in (tastes, other):
        for user in ("alice", "bob"):
            profile = each.profile(team, user)
            assert_same(profile, refit(store, each.making.profiles, team, user))
    assert len(tastes.profile(team, "bob").answers) == 3  # answer 4 is a tie
    assert (store.retention.expire(25).users, store.models.behind(other.model.identity)) == (0, 0)
    with pytest.raises(NotFound, match="no answer 1"):
        tastes.withdraw(team, "alice", 1)
    clock.now += 1000
    store.retention.expire(25)
    assert not rows_hold(store, WORD)
    assert files_hold(store, WORD) == [] if store.database.is_sqlite else True
    clock.now += 1000
    assert store.retention.expire(25).entries == 0
    tastes.add(team, "alice", [answer(1)])
    assert_same(tastes.profile(team, "alice"), refit(store, tastes.making.profiles, team, "alice"))


def test_cached_features_go_too(tmp_path: Path, toy: PreferenceData) -> None:
    backbone = world.make_backbone(tmp_path / "backbone")
    comparisons = [NewAnswer(each) for each in list(toy)[:5]]
    world.fill_cache(tmp_path / "cache", backbone, toy.item_texts())
    model = PersonalRewardModel.train(
        toy, backbone=str(backbone), cache=tmp_path / "cache", settings=world.FEW_STEPS
    )
    store = Store.open(f"sqlite:///{tmp_path / 'palate.db'}")
    tastes, team = Tastes(store, model.users), store.tenants.create("team").id
    tastes.add(team, "alice", comparisons)
    cache = model.reader.source().cache
    before = cache.path.read_bytes()
    state = world.hidden_state(comparisons[0].comparison.prompt, comparisons[0].comparison.chosen)
    assert state.tobytes() in before
    tastes.erase(team, "alice")
    left = b"".join(path.read_bytes() for path in sorted(cache.path.parent.iterdir()))
    assert state.tobytes() not in left
    store.close()
