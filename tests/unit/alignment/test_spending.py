"""Costs are told before, counted after, and never pass the ceiling, whatever the threads do."""

from __future__ import annotations

import math
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palate.alignment.spending import Prices, Spending, Tokens
from palate.errors import PolicyError, SettingsError

PRICES = Prices(prompt=1e6, completion=2e6)  # a token read costs 1, one written 2


def test_tokens_add_up() -> None:
    assert Tokens(1, 2) + Tokens(3, 4) == Tokens(4, 6)
    assert Tokens(1, 2).times(3) == Tokens(3, 6)
    with pytest.raises(ValueError, match="from zero"):
        Tokens(-1, 0)


def test_the_price_of_tokens() -> None:
    assert PRICES.of(Tokens(3, 4)) == 11
    assert Prices().of(Tokens(10**9, 10**9)) == 0


@pytest.mark.parametrize("price", [-1, math.nan, math.inf])
def test_no_senseless_price(price: float) -> None:
    with pytest.raises(SettingsError, match="price of prompt tokens"):
        Prices(prompt=price)


@pytest.mark.parametrize("budget", [-1, math.nan, math.inf])
def test_no_senseless_budget(budget: float) -> None:
    with pytest.raises(SettingsError, match="budget is"):
        Spending(budget=budget)


def test_a_told_cost_is_what_was_told() -> None:
    spending = Spending(PRICES)
    with spending.attempt(Tokens(10, 10)) as attempt:
        attempt.settle(Tokens(2, 3))
    assert (spending.cost, spending.cost_at_most) == (8, 8)
    assert (spending.attempts, spending.untold_attempts) == (1, 0)


def test_an_untold_cost_counts_as_its_bound() -> None:
    spending = Spending(PRICES)
    with pytest.raises(OSError, match="cut"), spending.attempt(Tokens(10, 10)):
        raise OSError("cut")
    assert (spending.cost, spending.cost_at_most) == (0, 30)
    assert spending.untold_attempts == 1


def test_a_refused_attempt_is_free() -> None:
    spending = Spending(PRICES)
    with spending.attempt(Tokens(10, 10)) as attempt:
        attempt.free()
    assert spending.cost_at_most == 0


def test_more_than_the_bound_is_counted_and_noted() -> None:
    spending = Spending(PRICES)
    with spending.attempt(Tokens(10, 10)) as attempt:
        attempt.settle(Tokens(11, 1))
    assert spending.cost == 13
    assert spending.excessive == 1


def test_a_budget_refuses_before_anything_is_sent() -> None:
    spending = Spending(PRICES, budget=29)
    with pytest.raises(PolicyError, match=r"up to 30.0000 .*29.0000 of the budget"):
        spending.announce(Tokens(10, 10))
    assert spending.announced is None
    assert spending.announce(Tokens(9, 10)) == 29


def test_what_was_announced_is_the_ceiling() -> None:
    spending = Spending(PRICES)
    spending.announce(Tokens(10, 0))
    with spending.attempt(Tokens(6, 0)):
        pass
    with pytest.raises(PolicyError, match="is not sent"), spending.attempt(Tokens(6, 0)):
        pytest.fail("it was sent")
    with spending.attempt(Tokens(4, 0)) as attempt:
        attempt.free()
    assert spending.attempts == 2


def test_another_run_may_spend_again() -> None:
    spending = Spending(PRICES, budget=15)
    for _ in range(3):
        spending.announce(Tokens(5, 0))
        with spending.attempt(Tokens(5, 0)):
            pass
    with pytest.raises(PolicyError, match=r"0\.0000 of the budget"):
        spending.announce(Tokens(5, 0))


def test_free_tokens_never_hit_a_ceiling() -> None:
    spending = Spending(Prices(), budget=0)
    spending.announce(Tokens(10**12, 10**12))
    with spending.attempt(Tokens(10**12, 10**12)) as attempt:
        attempt.settle(Tokens(5, 5))
    assert spending.billed == Tokens(5, 5)


def test_who_does_not_fit_waits_for_those_under_way() -> None:
    spending = Spending(PRICES, budget=10)
    entered = threading.Event()

    def other() -> None:
        with spending.attempt(Tokens(8, 0)) as attempt:
            entered.set()
            time.sleep(0.1)
            attempt.settle(Tokens(1, 0))

    thread = threading.Thread(target=other)
    thread.start()
    entered.wait()
    with spending.attempt(Tokens(8, 0), seconds=5) as attempt:
        attempt.settle(Tokens(1, 0))
    thread.join()
    assert spending.cost == 2


def test_waiting_ends_with_the_seconds() -> None:
    spending = Spending(PRICES, budget=10)
    started = time.monotonic()
    with (
        spending.attempt(Tokens(8, 0)),
        pytest.raises(PolicyError, match=r"8\.0000 held back"),
        spending.attempt(Tokens(8, 0), seconds=0.05),
    ):
        pytest.fail("it was sent")
    assert time.monotonic() - started < 2


@given(
    budget=st.integers(0, 60),
    ends=st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["told", "untold", "free"]))),
)
def test_threads_never_pass_the_budget(budget: int, ends: list[tuple[int, str]]) -> None:
    spending = Spending(PRICES, budget=budget)
    refused = []

    def one(size: int, end: str) -> None:
        try:
            with spending.attempt(Tokens(size, 0)) as attempt:
                if end == "told":
                    attempt.settle(Tokens(size // 2, 0))
                if end == "free":
                    attempt.free()
        except PolicyError:
            refused.append(size)

    threads = [threading.Thread(target=one, args=pair) for pair in ends]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert spending.cost_at_most <= budget
    assert spending.attempts + len(refused) == len(ends)
    if not refused:
        expected = sum({"told": s // 2, "untold": s, "free": 0}[end] for s, end in ends)
        assert spending.cost_at_most == expected
