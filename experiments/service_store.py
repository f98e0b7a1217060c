"""The state of a million users on PostgreSQL: what a look-up and an update take.

Example: python experiments/service_store.py --users 1000000 --each 10

A private PostgreSQL with the settings that it comes with, but for --settings. Users with some
answers each are generated in the database, from a table of comparisons (texts of a few hundred
characters), with the posteriors that follow. Then clients, threads of one process, look users up at
random and give new answers, through the store as a service does, in turn; a tenth of the users who
are written to is new. Before that, what it takes to commit one row without any of this. A sample of
users is compared with a refit. Model and answers are generated; texts are read without a backbone,
as from a cache.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import psycopg
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))  # the private server is the tests' own

from tests.service.private_postgresql import private_server
from tests.service.worlds import assert_same, made, refit

from palate.service import statements as said
from palate.service.store import Entry, NewAnswer, Store
from palate.service.store.schema import ENTRIES, POSTERIORS
from palate.service.store.texts import column_of
from palate.service.tastes import Tastes
from palate.types import Comparison, Evidence

#: Comparisons that users answer; a prime, so that nobody is asked one twice.
POOL = 5003
#: User u's s-th answer is to comparison (u STEP_U + s STEP_S) mod POOL.
STEP_U, STEP_S = 7919, 104_729
#: Users whose posteriors are made together, and in one COPY.
CHUNK = 20_000
FILLER = "so that a response has about the length that such responses have in such a service, "


def pool() -> list[NewAnswer]:
    """The comparisons as answers."""
    return [
        NewAnswer(
            Comparison(
                f"Prompt {i}? {FILLER}", f"Chosen {i}: {FILLER * 3}", f"No {i}: {FILLER * 2}"
            ),
            time=float(i),
        )
        for i in range(POOL)
    ]


def fill_answers(
    store: Store, tenant: int, users: int, each: int, answers: list[NewAnswer]
) -> None:
    """Users and their logs, made by the database itself."""
    with store.database.engine.begin() as connection:
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        connection.exec_driver_sql(
            "CREATE TEMP TABLE pool (id int PRIMARY KEY, prompt text, chosen text, rejected text)"
        )
        texts = [[column_of(t) for t in vars(answer.comparison).values()] for answer in answers]
        rows = [(i, *row) for i, row in enumerate(texts)]
        connection.exec_driver_sql("INSERT INTO pool VALUES (%s, %s, %s, %s)", rows)
        connection.exec_driver_sql(
            "INSERT INTO users (tenant_id, name, created, entries) "
            f"SELECT {tenant}, 'user-' || u, 0, {each} FROM generate_series(1, {users}) u"
        )
        connection.exec_driver_sql(
            f"INSERT INTO {ENTRIES.name} (user_id, number, kind, received, idempotency, part, "
            "prompt, chosen, rejected, time, weight, tie, origin) "
            "SELECT u.id, s, 'answer', s, NULL, 0, p.prompt, p.chosen, p.rejected, p.id, 1, "
            "false, 'comparison' FROM users u CROSS JOIN generate_series(1, "
            f"{each}) s JOIN pool p ON p.id = mod(u.id * {STEP_U} + s * {STEP_S}, {POOL})"
        )


def fill_posteriors(tastes: Tastes, users: int, each: int, answers: list[NewAnswer]) -> None:
    """The state and the posterior of every user, by the batch."""
    making = tastes.making
    rows = np.concatenate(making.evidence(answers))
    one: Any = np.concatenate(
        [
            said.of_answer(Entry(1, "answer", 0.0, answer), answer, rows[i : i + 1])
            for i, answer in enumerate(answers)
        ]
    )
    numbers = np.arange(1, each + 1)
    raw = tastes.store.database.engine.raw_connection()
    table = (
        f"COPY {POSTERIORS.name} (user_id, model_id, through, state, posterior) FROM STDIN BINARY"
    )
    try:
        raw.cursor().execute("SET statement_timeout = 0")
        with raw.cursor().copy(table) as copy:
            copy.set_types(["int8", "int8", "int8", "bytea", "bytea"])
            for start in range(1, users + 1, CHUNK):
                chunk = np.arange(start, min(start + CHUNK, users + 1))
                place = (chunk[:, None] * STEP_U + numbers * STEP_S) % POOL
                states = one[place]
                states["number"] = numbers
                offsets = torch.arange(0, place.size + 1, each)
                found = making.profiles.method.posterior(
                    Evidence(torch.from_numpy(rows[place.ravel()]), offsets)
                )
                parts = [found.mean, found.variance, found.covariance]
                tables = [
                    part.numpy().reshape(len(chunk), -1) for part in parts if part is not None
                ]
                posteriors = np.concatenate(tables, axis=1).astype("<f4")
                for i, user in enumerate(chunk.tolist()):
                    state, posterior = states[i].tobytes(), posteriors[i].tobytes()
                    copy.write_row((user, tastes.model.id, each, state, posterior))
        raw.commit()
    finally:
        raw.close()


def fill(tastes: Tastes, tenant: int, users: int, each: int, answers: list[NewAnswer]) -> None:
    """All of it, with the statistics that the planner needs."""
    started = time.monotonic()
    fill_answers(tastes.store, tenant, users, each, answers)
    fill_posteriors(tastes, users, each, answers)
    with tastes.store.database.read() as connection:
        connection.exec_driver_sql("SET statement_timeout = 0")
        connection.exec_driver_sql("VACUUM ANALYZE")
        connection.exec_driver_sql("CHECKPOINT")
    print(f"filled in {time.monotonic() - started:.0f} s", flush=True)


def measure(
    name: str, act: Callable[[Random], object], clients: int, seconds: float, seed: int
) -> None:
    """Print the times of what clients do one after the other for so long."""

    def client(number: int) -> list[float]:
        chance, times = Random(1000 * seed + number), []
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            started = time.perf_counter()
            act(chance)
            times.append(1e3 * (time.perf_counter() - started))
        return times

    with ThreadPoolExecutor(clients) as threads:
        times = sorted(t for some in threads.map(client, range(clients)) for t in some)
    p50, p99 = (times[int(share * len(times))] for share in (0.5, 0.99))
    print(
        f"{name}, {clients} clients: {len(times) / seconds:.0f}/s, p50 {p50:.2f} ms, "
        f"p99 {p99:.2f}, most {times[-1]:.1f}",
        flush=True,
    )


def main() -> None:
    """Fill, measure, compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--each", type=int, default=10)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement")
    parser.add_argument("--method", default="vrf")
    parser.add_argument("--keep", type=Path, help="folder of the server, filled once")
    parser.add_argument("--settings", default="", help="of the server, as -c name=value")
    options = parser.parse_args()
    torch.set_num_threads(1)
    users, answers = options.users, pool()
    filled = options.keep is not None and (options.keep / "data").exists()
    if options.keep is not None:
        options.keep.mkdir(parents=True, exist_ok=True)
    with private_server(settings=options.settings, folder=options.keep) as server:
        store = Store.open(server.url("palate") if filled else server.create("palate"))
        tenant = store.tenants.ensure("team").id
        tastes = Tastes(store, made(options.method))
        if not filled:
            fill(tastes, tenant, users, options.each, answers)
        with store.database.read() as connection:
            query = "SELECT pg_database_size('palate'), pg_total_relation_size('posteriors')"
            whole, states = connection.exec_driver_sql(query).one()
        print(
            f"{users:,} users of {options.each} answers: {whole / 1e9:.1f} GB, of which posteriors "
            f"{states / 1e9:.1f} GB",
            flush=True,
        )

        def somebody(chance: Random) -> str:
            return f"user-{chance.randrange(users) + 1}"

        def look_up(chance: Random) -> object:
            return tastes.profile(tenant, somebody(chance))

        def update(chance: Random) -> object:
            user = f"new-{chance.random()}" if chance.random() < 0.1 else somebody(chance)
            key = f"{chance.random()}"
            return tastes.add(tenant, user, [chance.choice(answers)], key)

        with psycopg.connect(server.url("palate"), autocommit=True) as bare:
            row = "UPDATE users SET created = created + 1 WHERE id = %s"

            def committed(chance: Random) -> object:
                return bare.execute(row, (chance.randrange(users) + 1,))

            measure("one row committed by psycopg alone", committed, 1, options.seconds / 2, 0)
        for seed, clients in enumerate(options.clients):
            measure("look-up", look_up, clients, options.seconds, seed)
            measure("update", update, clients, options.seconds, seed)
        chance = Random(0)
        for user in (somebody(chance) for _ in range(200)):
            fitted = refit(store, tastes.making.profiles, tenant, user)
            assert_same(tastes.profile(tenant, user), fitted)
        print("200 users: posteriors are those of a refit")
        store.close()


if __name__ == "__main__":
    main()
