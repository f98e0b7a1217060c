"""Win rates with their intervals, and what stands beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from palate.evaluation.bootstrap import OUTSIDE, resample


@dataclass(frozen=True)
class WinRate:
    """One contender against another: mean over users of each user's share of prompts won.

    A tie, and the same answer by both, is one half. low, high: 95% by bootstrap over users; None
    for a single user. pairs: that were judged; ties: of them. missing: pairs without a judgement.
    """

    contender: str
    against: str
    mean: float
    low: float | None
    high: float | None
    users: int
    pairs: int
    ties: int
    missing: int

    @classmethod
    def of(
        cls,
        names: tuple[str, str],
        users: Sequence[int],
        won: Sequence[float | None],
        generator: np.random.Generator,
    ) -> WinRate:
        """From who judged each pair, and what was said; NaN where nothing was."""
        known = [(user, value) for user, value in zip(users, won, strict=True) if value is not None]
        shares: dict[int, list[float]] = {}
        for user, value in known:
            shares.setdefault(user, []).append(value)
        means = np.array([np.mean(values) for values in shares.values()])
        low = high = None
        if len(means) > 1:
            drawn = resample([means[None]], generator).draws[0]
            low, high = map(float, np.quantile(drawn, [OUTSIDE / 2, 1 - OUTSIDE / 2]))
        return cls(
            *names,
            mean=float(means.mean()) if len(means) else float("nan"),
            low=low,
            high=high,
            users=len(means),
            pairs=len(known),
            ties=sum(value == 0.5 for _, value in known),
            missing=len(won) - len(known),
        )

    def to_json(self) -> dict[str, Any]:
        """For programs; a mean of nothing is null."""
        return {**vars(self), "mean": self.mean if self.users else None}


@dataclass(frozen=True)
class WinRates:
    """All win rates, the judge and its account, and answers not given, by their reasons."""

    judge: str
    rates: tuple[WinRate, ...]
    unanswered: dict[str, int]
    judging: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        rates = [rate.to_json() for rate in self.rates]
        return {**vars(self), "rates": rates}
