"""What requests cost: prices, an upper bound that is announced, and what was spent of it."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import TIMEOUT_MAX
from typing import Protocol, runtime_checkable

from palate.alignment.policy import Request
from palate.errors import PolicyError, SettingsError

#: Sums of prices round; so much of a ceiling is no overspending.
ROUNDING = 1 + 1e-9
#: What a run may cost, in costs of sending each of its requests once: room for tries that fail.
ROOM = 2


@dataclass(frozen=True)
class Tokens:
    """Tokens that are read (prompt) and written (completion)."""

    prompt: int = 0
    completion: int = 0

    def __post_init__(self) -> None:
        if self.prompt < 0 or self.completion < 0:
            raise ValueError("tokens are counted from zero")

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(self.prompt + other.prompt, self.completion + other.completion)

    def times(self, factor: int) -> Tokens:
        """So many times as many of both."""
        return Tokens(self.prompt * factor, self.completion * factor)


@dataclass(frozen=True)
class Prices:
    """What a million tokens cost, in the caller's currency; zero where nothing is billed."""

    prompt: float = 0.0
    completion: float = 0.0

    def __post_init__(self) -> None:
        for name, price in (("prompt", self.prompt), ("completion", self.completion)):
            if not (math.isfinite(price) and price >= 0):
                raise SettingsError(f"the price of {name} tokens is {price}; expected 0 or more")

    def of(self, tokens: Tokens) -> float:
        """The cost of tokens."""
        return (self.prompt * tokens.prompt + self.completion * tokens.completion) / 1e6


@runtime_checkable
class Billed(Protocol):
    """A policy whose requests cost something."""

    spending: Spending

    def bound(self, requests: Sequence[Request]) -> Tokens:
        """Tokens that requests cost at most, each sent once; none for those answered before."""
        ...


@dataclass
class Attempt:
    """One sending of a request: what it may cost at most, and what is known of its cost."""

    bound: Tokens
    billed: Tokens | None = None

    def settle(self, usage: Tokens | None) -> None:
        """What the endpoint said that it cost. Where this is not called, the bound is counted."""
        self.billed = usage

    def free(self) -> None:
        """The endpoint refused before it wrote a token."""
        self.billed = Tokens()


@dataclass
class Spending:
    """The account of an endpoint's requests, for any number of threads.

    Nothing is sent that could take the cost above `ceiling`: the budget, or less where a run has
    announced less. An attempt whose cost nobody told (cut off, timed out) counts as its bound.

    billed: tokens by the endpoint's own word. untold: bounds of the attempts without one.
    attempts: how many were sent; excessive: those that were billed above their bound.
    """

    prices: Prices = field(default_factory=Prices)
    budget: float | None = None
    billed: Tokens = field(default_factory=Tokens, init=False)
    untold: Tokens = field(default_factory=Tokens, init=False)
    attempts: int = field(default=0, init=False)
    untold_attempts: int = field(default=0, init=False)
    excessive: int = field(default=0, init=False)
    announced: float | None = field(default=None, init=False)
    _reserved: float = field(default=0.0, init=False, repr=False)
    _changed: threading.Condition = field(default_factory=threading.Condition, repr=False)

    def __post_init__(self) -> None:
        if self.budget is not None and not (math.isfinite(self.budget) and self.budget >= 0):
            raise SettingsError(f"budget is {self.budget}; expected 0 or more")

    @property
    def cost(self) -> float:
        """What the endpoint says was spent."""
        return self.prices.of(self.billed)

    @property
    def cost_at_most(self) -> float:
        """What was spent, where attempts of unknown cost count as their bounds."""
        return self.prices.of(self.billed + self.untold)

    @property
    def ceiling(self) -> float:
        """What may be spent in all."""
        limits = [limit for limit in (self.budget, self.announced) if limit is not None]
        return min(limits, default=math.inf)

    def announce(self, bound: Tokens) -> float:
        """Let a run spend no more than `bound` beyond what was spent; its cost.

        Raises `PolicyError`, before anything is sent, where the budget does not hold that much.
        """
        cost = self.prices.of(bound)
        with self._changed:
            total = self.cost_at_most + self._reserved + cost
            if self.budget is not None and total > self.budget * ROUNDING:
                left = max(0.0, self.budget - self.cost_at_most - self._reserved)
                raise PolicyError(
                    f"this may cost up to {cost:.4f} ({bound.prompt:,} tokens to read, "
                    f"{bound.completion:,} to write) and {left:.4f} of the budget of "
                    f"{self.budget:.4f} is left: raise the budget, or ask for less"
                )
            self.announced = total
        return cost

    @contextmanager
    def attempt(self, bound: Tokens, seconds: float = math.inf) -> Iterator[Attempt]:
        """Send a request within this: its bound is held back until its cost is known.

        Waits up to `seconds` for what other requests hold back. Raises `PolicyError` where the
        ceiling does not hold the bound.
        """
        held = self.prices.of(bound)
        self._hold(held, seconds)
        one = Attempt(bound)
        try:
            yield one
        finally:
            with self._changed:
                self._reserved -= held
                self._count(one)
                self._changed.notify_all()

    def _hold(self, cost: float, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(
                lambda: self._fits(cost) or self._reserved <= 0, min(seconds, TIMEOUT_MAX)
            )
            if not self._fits(cost):
                raise PolicyError(
                    f"a request that may cost {cost:.4f} is not sent: up to "
                    f"{self.cost_at_most:.4f} of {self.ceiling:.4f} is spent, and "
                    f"{self._reserved:.4f} held back for others; raise the budget and go on"
                )
            self._reserved += cost
            self.attempts += 1

    def _fits(self, cost: float) -> bool:
        return self.cost_at_most + self._reserved + cost <= self.ceiling * ROUNDING

    def _count(self, one: Attempt) -> None:
        if one.billed is None:
            self.untold += one.bound
            self.untold_attempts += 1
            return
        self.billed += one.billed
        over = one.billed.prompt > one.bound.prompt or one.billed.completion > one.bound.completion
        self.excessive += over
