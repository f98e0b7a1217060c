"""A key may ask so often a second in each process, and so often a day in all."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from palate.service.store import ApiKey, Store
from palate.service.store import limits as module
from palate.service.store.limits import BURST, Quotas, RateLimits
from tests.service.conftest import Clock

KEY = ApiKey(1, 1, "abc", "app", frozenset({"read"}), 0.0, None, per_second=5.0, per_day=None)


def test_a_burst_and_then_the_rate() -> None:
    clock = Clock()
    rates = RateLimits(clock)
    burst = int(BURST * 5)
    assert [rates.wait(KEY) for _ in range(burst)] == [0.0] * burst
    assert rates.wait(KEY) == pytest.approx(0.2)
    clock.now += 0.21
    assert rates.wait(KEY) == 0
    assert rates.wait(KEY) == pytest.approx(0.19, abs=1e-6)
    clock.now += 1e6
    assert sum(rates.wait(KEY) == 0 for _ in range(100)) == burst


def test_a_slow_rate_lets_one_go() -> None:
    clock = Clock()
    rates, key = RateLimits(clock), replace(KEY, per_second=0.1)
    assert rates.wait(key) == 0
    assert rates.wait(key) == pytest.approx(10)
    clock.now += 10
    assert rates.wait(key) == 0


def test_keys_do_not_share_a_bucket_and_old_ones_are_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MOST_BUCKETS", 3)
    rates = RateLimits(Clock())
    for key in range(10):
        assert rates.wait(replace(KEY, id=key, per_second=0.1)) == 0
    assert rates.wait(replace(KEY, id=9, per_second=0.1)) > 0
    assert rates.wait(replace(KEY, id=0, per_second=0.1)) == 0
    assert rates.wait(replace(KEY, per_second=None)) == 0


def test_a_day_has_so_many_for_all_workers(store: Store, clock: Clock, team: int) -> None:
    key, _ = store.keys.create(team, ["read"], per_day=105)
    workers = [Quotas(store.database, clock, block=10) for _ in range(4)]
    with ThreadPoolExecutor(8) as pool:
        waits = list(pool.map(lambda i: workers[i % 4].wait(key), range(200)))
    assert waits.count(0) == 105
    assert store.quotas.used(key) == 105
    midnight = 86400 - clock.now % 86400
    assert max(waits) == pytest.approx(midnight, abs=1)
    clock.now += midnight
    assert store.quotas.used(key) == 0
    assert workers[0].wait(key) == 0
    assert store.quotas.used(key) == 10


def test_without_a_quota_nothing_is_written(store: Store, team: int) -> None:
    key, _ = store.keys.create(team, ["read"])
    assert store.quotas.wait(key) == 0
    assert store.quotas.used(key) == 0
