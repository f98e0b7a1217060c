"""The database goes and comes back: nothing is acknowledged that is not kept, nobody restarts."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from palate.errors import StoreError
from palate.service.store import Store, StoreUnavailable
from palate.service.store.database import Database
from palate.service.tastes import Tastes
from tests.service import worlds
from tests.service.private_postgresql import PrivateServer, private_server
from tests.service.worlds import answer, assert_same, log_of, refit


@pytest.fixture(scope="module")
def own_server(postgresql: PrivateServer) -> Iterator[PrivateServer]:
    """A server that may be stopped, and keeps what it says that it keeps."""
    del postgresql  # or the reason to skip
    with private_server() as server:
        yield server


@contextmanager
def opened(url: str) -> Iterator[tuple[Tastes, int]]:
    """VRF's users in a store with short timeouts, and a tenant."""
    store = Store.open(url, timeout=1.0)
    try:
        yield Tastes(store, worlds.made()), store.tenants.ensure("team").id
    finally:
        store.close()


def write(store: Store, *statements: str) -> None:
    """Statements in one transaction."""
    with store.database.write() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def refused(tastes: Tastes, team: int) -> None:
    """Nothing works, within the timeouts, and says so in one way."""
    started = time.monotonic()
    for act in (
        lambda: tastes.add(team, "alice", [answer(1)], "lost"),
        lambda: tastes.profile(team, "alice"),
        lambda: tastes.store.keys.check("palate_a_b"),
        tastes.store.check,
    ):
        with pytest.raises(StoreUnavailable, match=r"does not answer.*try again in 1 s") as error:
            act()
        assert error.value.retry_after == 1.0
        assert "chosen answer" not in str(error.value)
    assert time.monotonic() - started < 20


def works(tastes: Tastes, team: int) -> None:
    """What was kept is there, what was refused is not, and both may be given."""
    assert [entry.idempotency for entry in log_of(tastes.store, team, "alice")] == ["kept"]
    tastes.add(team, "alice", [answer(1)], "lost")
    assert tastes.add(team, "alice", [answer(0)], "kept").repeated
    assert_same(
        tastes.profile(team, "alice"),
        refit(tastes.store, tastes.making.profiles, team, "alice"),
    )


@pytest.mark.parametrize("how", ["fast", "immediate"])
def test_a_server_that_is_stopped_and_started(own_server: PrivateServer, how: str) -> None:
    with opened(own_server.create(f"stopped_{how}")) as (tastes, team):
        tastes.add(team, "alice", [answer(0)], "kept")
        own_server.stop(how)
        try:
            refused(tastes, team)
        finally:
            own_server.start()
        works(tastes, team)


def test_a_connection_that_is_cut_between(own_server: PrivateServer) -> None:
    """A pooled connection that died is replaced before it is used: nobody notices."""
    with opened(own_server.create("cut")) as (tastes, team):
        tastes.add(team, "alice", [answer(0)], "kept")
        other = Database(own_server.url())
        with other.read() as connection:
            connection.exec_driver_sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = 'cut' AND application_name = 'palate'"
            )
        other.close()
        works(tastes, team)


def test_a_connection_that_is_cut_in_a_transaction(own_server: PrivateServer) -> None:
    with opened(own_server.create("within")) as (tastes, team):
        tastes.add(team, "alice", [answer(0)], "kept")
        with pytest.raises(StoreUnavailable):
            write(
                tastes.store, "DELETE FROM users", "SELECT pg_terminate_backend(pg_backend_pid())"
            )
        works(tastes, team)


def test_a_file_that_is_moved_and_brought_back(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    folder.mkdir()
    with opened(f"sqlite:///{folder / 'palate.db'}") as (tastes, team):
        tastes.add(team, "alice", [answer(0)], "kept")
        folder.rename(elsewhere)
        refused(tastes, team)
        assert not folder.exists()
        elsewhere.rename(folder)
        works(tastes, team)


def test_a_file_that_is_locked(tmp_path: Path) -> None:
    """Another process has a transaction open for long: writers are told, readers are served."""
    with opened(f"sqlite:///{tmp_path / 'palate.db'}") as (tastes, team):
        tastes.add(team, "alice", [answer(0)], "kept")
        code = (
            "import sqlite3, sys\nc = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
            "c.execute('BEGIN IMMEDIATE')\nprint('locked', flush=True)\nsys.stdin.read()"
        )
        command = [sys.executable, "-c", code, str(tmp_path / "palate.db")]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "locked\n"
            with pytest.raises(StoreUnavailable, match="locked"):
                tastes.add(team, "alice", [answer(1)], "lost")
            assert len(tastes.profile(team, "alice").answers) == 1
            process.communicate("")
        works(tastes, team)


def test_no_connection_is_free(url: str) -> None:
    database = Database(url, timeout=0.2, most_connections=2)
    Store.open(url).close()
    with (
        database.read(),
        database.read(),
        pytest.raises(StoreUnavailable, match=r"connections .* are taken"),
        database.read(),
    ):
        pass
    with database.read():
        pass
    database.close()


def test_nobody_answers_at_all() -> None:
    started = time.monotonic()
    with pytest.raises(StoreUnavailable) as error:
        Store.open("postgresql://palate:secret@127.0.0.1:1/palate", timeout=1.0)
    assert "secret" not in str(error.value)
    assert time.monotonic() - started < 10


def test_no_message_holds_what_was_stored(store: Store, team: int) -> None:
    """Neither of the store's errors nor of what they came from."""
    insert = f"INSERT INTO users VALUES (1, {team}, 'zanzibar', 0, 0)"
    for statements in ((insert, insert), ("SELECT zanzibar'",)):
        with pytest.raises(StoreError) as error:
            write(store, *statements)
        shown: BaseException | None = error.value
        while shown is not None and not shown.__suppress_context__:
            assert "'zanzibar'" not in str(shown)
            shown = shown.__cause__
        assert "=(zanzibar" not in str(error.value)


def test_a_stop_in_the_midst_of_many_writers(own_server: PrivateServer) -> None:
    """What was acknowledged is there, once; what was refused may be sent again."""
    with opened(own_server.create("midst")) as (tastes, team):
        acknowledged: set[str] = set()
        over = threading.Event()

        def give(worker: int) -> None:
            i = 0
            while not over.is_set():
                key = f"{worker}-{i}"
                try:
                    tastes.add(team, f"user {i % 3}", [answer(100 * worker + i)], key)
                except StoreUnavailable:
                    time.sleep(0.05)
                    continue
                acknowledged.add(key)
                i += 1

        workers = [threading.Thread(target=give, args=(i,)) for i in range(4)]
        for worker in workers:
            worker.start()
        for _ in range(2):
            time.sleep(0.3)
            own_server.stop("immediate")
            own_server.start()
        time.sleep(0.3)
        over.set()
        for worker in workers:
            worker.join(30)
        kept = []
        for user in tastes.store.users.names(team):
            kept += [entry.idempotency for entry in log_of(tastes.store, team, user)]
            fitted = refit(tastes.store, tastes.making.profiles, team, user)
            assert_same(tastes.profile(team, user), fitted)
        assert len(kept) == len(set(kept))
        assert acknowledged <= set(kept)
        assert len(kept) <= len(acknowledged) + len(workers)  # refused at the very end, yet kept
        assert len(kept) > 10
