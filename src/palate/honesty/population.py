"""How consistent users are: the mixture in which one user's repeats are read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Population:
    """How consistent users are: shares (R,) of users who agree with themselves at rates (R,).

    The first rate is 1/2: users who answer at random.
    """

    rates: Floats
    shares: Floats

    def __post_init__(self) -> None:
        if self.rates.shape != self.shares.shape or self.rates[0] != 0.5:
            raise ValueError("rates and shares are both (R,), and the first rate is 1/2")
        if (
            not self.shares[0] > 0
            or (self.shares < 0).any()
            or not np.isclose(self.shares.sum(), 1.0)
        ):
            raise ValueError("shares are 0 or more, above 0 at random, and 1 together")
        if not ((self.rates >= 0.5) & (self.rates <= 1)).all():
            raise ValueError("a user agrees with themselves at a rate from 1/2 to 1")

    def responsibilities(self, agreeing: Integers, repeats: Integers) -> Floats:
        """(U, R) probability of each rate, given that `agreeing` of `repeats` (U,) agree."""
        with np.errstate(divide="ignore", invalid="ignore"):
            log_rate, log_other = np.log(self.rates), np.log1p(-self.rates)
            against = np.outer(repeats - agreeing, log_other)
            log = (
                np.outer(agreeing, log_rate)
                + np.nan_to_num(against, nan=0.0, neginf=-np.inf)
                + np.log(self.shares)
            )
        weight = np.exp(log - log.max(1, keepdims=True))
        found: Floats = weight / weight.sum(1, keepdims=True)
        return found


def population_of(
    agreeing: Integers, repeats: Integers, prior: Population, *, strength: float = 10.0
) -> Population:
    """The population that users' repeats (U,) speak for, by expectation maximisation.

    The prior counts as `strength` users, so that few users change it little.
    """
    found = prior
    for _ in range(200):
        users = found.responsibilities(agreeing, repeats).sum(0) + strength * prior.shares
        found = Population(prior.rates, users / users.sum())
    return found


def typical_population(careless: float = 0.1) -> Population:
    """Where nothing is known of the users: `careless` of them answer at random, others mostly not.

    The rates of the others are 1/2 + x / 2 with x ~ Beta(5, 2): 86% on average.
    """
    rates = np.linspace(0.5, 1.0, 101)
    x = 2 * (rates - 0.5)
    density = x**4 * (1 - x)
    shares = (1 - careless) * density / density.sum()
    shares[0] = careless
    return Population(rates, shares)
