"""Paired bootstrap over users: how sure a difference between two methods is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from palate.evaluation.metrics import Floats

DRAWS = 2000
#: Share of the draws that an interval leaves out, half on either side.
OUTSIDE = 0.05


@dataclass(frozen=True)
class Difference:
    """A mean difference with its 95% interval; `tied` where the interval holds zero."""

    mean: float
    low: float
    high: float

    @property
    def tied(self) -> bool:
        """Whether the two cannot be told apart."""
        return self.low <= 0 <= self.high


@dataclass(frozen=True, eq=False)
class Resampled:
    """M methods' means, as measured (M,) and in each draw of users (M, draws)."""

    mean: Floats
    draws: Floats

    def difference(self, first: int, second: int) -> Difference:
        """First minus second: both were drawn with the same users."""
        drawn = self.draws[first] - self.draws[second]
        low, high = np.quantile(drawn, [OUTSIDE / 2, 1 - OUTSIDE / 2])
        return Difference(float(self.mean[first] - self.mean[second]), float(low), float(high))


def resample(
    values: Sequence[Floats], generator: np.random.Generator, draws: int = DRAWS
) -> Resampled:
    """Redraw users with replacement within every seed; means over users, then over seeds.

    values: a seed's (M, U) figures of the same U users under M methods; U may differ by seed.
    """
    means = [seed.mean(1) for seed in values]
    drawn = [_drawn_means(seed, generator, draws) for seed in values]
    return Resampled(np.mean(means, axis=0), np.mean(drawn, axis=0))


def _drawn_means(values: Floats, generator: np.random.Generator, draws: int) -> Floats:
    """(M, draws): each draw weighs users by how often it holds them."""
    users = values.shape[1]
    counts: NDArray[np.int64] = generator.multinomial(users, np.full(users, 1 / users), size=draws)
    return np.asarray(values @ counts.T / users, dtype=np.float64)


def mean_of(parts: Sequence[Resampled]) -> Resampled:
    """The plain mean of independent parts, as overall is of seen and unseen users."""
    return Resampled(
        np.mean([part.mean for part in parts], axis=0),
        np.mean([part.draws for part in parts], axis=0),
    )


def differences(names: Sequence[str], resampled: Resampled) -> Mapping[tuple[str, str], Difference]:
    """Every two methods' difference, the one that stands first in `names` first."""
    return {
        (names[i], names[j]): resampled.difference(i, j)
        for i in range(len(names))
        for j in range(i + 1, len(names))
    }
