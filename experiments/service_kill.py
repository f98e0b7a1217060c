"""Kill -9 of writers, and two of them at one user: nothing acknowledged is lost, nothing doubled.

Example: python experiments/service_kill.py --kills 100 --writers 16 --updates 1000

Writers are processes; each gives and takes back answers of a few users, all of them of the same
ones, under idempotency keys, and notes in a file of its own what was acknowledged. One after the
other is killed by SIGKILL at a random time and started again; it goes on with what it has not
noted. Then every note is looked for in the store, and every posterior is compared with a refit from
the answers. PostgreSQL is a private server with the settings that it comes with. Models and answers
are those of the tests.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))  # the private server is the tests' own

from tests.service.private_postgresql import private_server
from tests.service.worlds import answer, log_of, made, refit

from palate.service.store import Store, StoreUnavailable, log
from palate.service.tastes import Receipt, Tastes

PROFILES = made("vrf")
FORK = multiprocessing.get_context("fork")
TEAM, ONE = "team", "one"
#: Every so many entries of a writer take its last answer back.
WITHDRAW = 7


def writer(url: str, number: int, users: int, folder: Path) -> None:
    """Write until a file says stop; a line of its notes is (key, user, entry)."""
    torch.set_num_threads(1)
    store = Store.open(url, timeout=30.0)
    tastes, team = Tastes(store, PROFILES), store.tenants.ensure(TEAM).id
    notes = folder / f"writer-{number}"
    done = [line.split() for line in notes.read_text().splitlines()] if notes.exists() else []
    handle = os.open(notes, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    while not (folder / "stop").exists():
        count = len(done)
        user, key = f"user-{(number + count // WITHDRAW) % users}", f"{number}-{count}"
        try:
            if count % WITHDRAW == WITHDRAW - 1:
                receipt = tastes.withdraw(team, user, int(done[-1][2]), key)
            else:
                receipt = tastes.add(team, user, [answer(100_000 * number + count)], key)
        except StoreUnavailable:
            continue
        done.append([key, user, str(receipt.numbers[0])])
        os.write(handle, f"{' '.join(done[-1])}\n".encode())
    store.close()


def kill_and_check(url: str, options: argparse.Namespace) -> dict[str, object]:
    """What was noted, kept, lost and doubled after so many kills; how far posteriors are off."""
    chance = random.Random(options.seed)
    Store.open(url).close()
    with tempfile.TemporaryDirectory(prefix="palate-kill-") as name:
        folder = Path(name)

        def start(number: int) -> BaseProcess:
            process = FORK.Process(target=writer, args=(url, number, options.users, folder))
            process.start()
            return process

        started = time.monotonic()
        writers = [start(number) for number in range(options.writers)]
        killed = 0
        while killed < options.kills:
            time.sleep(chance.uniform(0.02, options.pause))
            number = chance.randrange(options.writers)
            if not (folder / f"writer-{number}").exists():
                continue  # it has not begun yet
            writers[number].kill()
            writers[number].join()
            writers[number] = start(number)
            killed += 1
        time.sleep(0.5)
        (folder / "stop").touch()
        for process in writers:
            process.join()
        assert all(process.exitcode == 0 for process in writers), "a writer failed"
        seconds = time.monotonic() - started
        noted = [
            tuple(line.split())
            for number in range(options.writers)
            for line in (folder / f"writer-{number}").read_text().splitlines()
        ]
    return {"kills": killed, "seconds": round(seconds, 1)} | check(url, noted)


def check(url: str, noted: list[tuple[str, ...]]) -> dict[str, object]:
    """Every note against the store, every posterior against a refit."""
    store = Store.open(url)
    tastes, team = Tastes(store, PROFILES), store.tenants.ensure(TEAM).id
    kept: Counter[tuple[str, ...]] = Counter()
    furthest = 0.0
    users = store.users.names(team)
    for user in users:
        entries = log_of(store, team, user)
        assert [entry.number for entry in entries] == list(range(1, len(entries) + 1))
        kept.update((str(entry.idempotency), user, str(entry.number)) for entry in entries)
        furthest = max(furthest, distance(store, tastes, team, user))
    assert store.models.behind(tastes.model.identity) == 0
    keys = Counter(key for key, *_ in kept.elements())
    store.close()
    return {
        "acknowledged": len(noted),
        "kept": kept.total(),
        "lost": len(set(noted) - set(kept)),
        "doubled": keys.total() - len(keys),
        "users": len(users),
        "furthest from a refit": f"{furthest:.1e}",
    }


def distance(store: Store, tastes: Tastes, team: int, user: str) -> float:
    """The largest difference of a stored posterior's mean or variance from a refit's."""
    own, fitted = tastes.profile(team, user).posterior, refit(store, PROFILES, team, user)
    assert own.variance is not None
    assert fitted.variance is not None
    assert torch.equal(own.answers, fitted.answers)
    tables = ((own.mean, fitted.mean), (own.variance, fitted.variance))
    return max(float((one - other).abs().max()) for one, other in tables)


def racer(url: str, number: int, updates: int, results: Path) -> None:
    """Half of the updates of one user, as fast as they go; how often the other was quicker."""
    torch.set_num_threads(1)
    store = Store.open(url, timeout=30.0)
    tastes, team = Tastes(store, PROFILES), store.tenants.ensure(TEAM).id
    append, overtaken = log.append, 0

    def counted(*given: object) -> int | None:
        nonlocal overtaken
        row = append(*given)  # type: ignore[arg-type]
        overtaken += row is None
        return row

    log.append = counted  # type: ignore[assignment]
    while not (results / "start").exists():
        time.sleep(0.001)
    for i in range(number, updates, 2):
        _: Receipt = tastes.add(team, ONE, [answer(i)], str(i))
    (results / str(number)).write_text(str(overtaken))
    store.close()


def race(url: str, updates: int) -> dict[str, object]:
    """Two workers at one user, against the same answers one after the other."""
    store = Store.open(url)
    tastes, team = Tastes(store, PROFILES), store.tenants.ensure(TEAM).id
    with tempfile.TemporaryDirectory(prefix="palate-race-") as name:
        results = Path(name)
        racers = [FORK.Process(target=racer, args=(url, i, updates, results)) for i in (0, 1)]
        for process in racers:
            process.start()
        time.sleep(0.5)
        (results / "start").touch()
        started = time.monotonic()
        for process in racers:
            process.join()
        seconds = time.monotonic() - started
        overtaken = sum(int((results / str(i)).read_text()) for i in (0, 1))
    for i in range(0, updates, 10):
        tastes.add(team, "in-sequence", [answer(j) for j in range(i, min(i + 10, updates))])
    one, other = (tastes.profile(team, user).posterior for user in (ONE, "in-sequence"))
    far = max(float((one.mean - other.mean).abs().max()), distance(store, tastes, team, ONE))
    kept = len(log_of(store, team, ONE))
    store.close()
    return {
        "updates": updates,
        "kept": kept,
        "overtaken": overtaken,
        "seconds": round(seconds, 1),
        "furthest from the sequence": f"{far:.1e}",
    }


@contextmanager
def database(kind: str) -> Iterator[str]:
    """An empty database of a kind; its URL."""
    if kind == "postgresql":
        with private_server(settings="-c max_connections=300") as server:
            yield server.create("palate")
        return
    with tempfile.TemporaryDirectory(prefix="palate-sqlite-") as folder:
        yield f"sqlite:///{folder}/palate.db"


def main() -> None:
    """Print what each database came to."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--writers", type=int, default=16)
    parser.add_argument("--users", type=int, default=40)
    parser.add_argument("--pause", type=float, default=0.4, help="most seconds between two kills")
    parser.add_argument("--updates", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--databases", nargs="+", default=["sqlite", "postgresql"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    failed = False
    for kind in options.databases:
        with database(kind) as url:
            killed = kill_and_check(url, options)
            raced = race(url, options.updates) if options.updates else {}
        for name, found in (("killed", killed), ("at once", raced)):
            if found:
                print(f"{kind}, {name}:", ", ".join(f"{k} {v}" for k, v in found.items()))
        sound = killed["lost"] == killed["doubled"] == 0
        sound &= killed["acknowledged"] == killed["kept"]
        sound &= float(str(killed["furthest from a refit"])) <= 1e-5
        if raced:
            sound &= raced["kept"] == options.updates
            sound &= float(str(raced["furthest from the sequence"])) <= 1e-5
        failed |= not sound
    sys.exit("something was lost, doubled or off" if failed else 0)


if __name__ == "__main__":
    main()
