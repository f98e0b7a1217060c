"""Careless answering, from pairs that a user was shown more than once.

A repeat is a showing after the first of the same two responses to the same prompt, either way
round; it agrees where the user chose what they chose the last time. Who answers at random agrees
in r repeats Binomial(r, 1/2) times. Who answers from a taste, with probability p a pair, agrees at
p^2 + (1 - p)^2, which is never below one half; how far above it is differs by user.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from palate.data.comparisons import PreferenceData
from palate.honesty.population import Integers, Population, typical_population
from palate.types import Comparison, canonical

#: Places of a numerical integral over a rate, and how many standard deviations it reaches.
PLACES, REACH = 4001, 12.0
#: A verdict is given from this probability on.
SURE = 0.9


def count_repeats(data: PreferenceData) -> tuple[Integers, Integers]:
    """(U,) repeats of each user of the data that agree, and (U,) all of them."""
    side = data.chosen_item < data.rejected_item
    low = np.minimum(data.chosen_item, data.rejected_item)
    high = np.maximum(data.chosen_item, data.rejected_item)
    order = np.lexsort((high, low, data.user))  # stable: showings stay in their order
    keys = np.stack([data.user, low, high])[:, order]
    again = (keys[:, 1:] == keys[:, :-1]).all(0)
    agrees = again & (side[order][1:] == side[order][:-1])
    users = len(data.user_ids)
    owner = keys[0, 1:]
    return (
        np.bincount(owner[agrees], minlength=users),
        np.bincount(owner[again], minlength=users),
    )


@dataclass(frozen=True)
class Consistency:
    """What repeated pairs say of one user.

    answers, repeats, agreeing: how many. share: agreeing of repeats, None without any.
    interval: 95% of the rate's posterior, Beta(1 + agreeing, 1 + repeats - agreeing).
    random: probability that the user answers at random. verdict: "careless" where that is at
    least 90%, "careful" at most 10%, "unclear" between them and where nothing was repeated.
    """

    answers: int
    repeats: int
    agreeing: int
    share: float | None
    interval: tuple[float, float]
    random: float
    verdict: Literal["careless", "careful", "unclear"]


def consistency(
    answers: Iterable[Comparison] | PreferenceData, population: Population | None = None
) -> Consistency:
    """What one user's answers, in the order in which they were given, say of their care."""
    if isinstance(answers, PreferenceData):
        if len(np.unique(answers.user)) > 1:
            raise ValueError("consistency is of one user; count_repeats takes several")
        answers = iter(answers)
    last: dict[tuple[str, frozenset[str]], str] = {}
    shown = repeats = agreeing = 0
    for answer in answers:
        chosen, rejected = canonical(answer.chosen), canonical(answer.rejected)
        pair = (canonical(answer.prompt), frozenset((chosen, rejected)))
        repeats += pair in last
        agreeing += last.get(pair) == chosen
        last[pair] = chosen
        shown += 1
    return judge(shown, agreeing, repeats, population)


def judge(
    answers: int, agreeing: int, repeats: int, population: Population | None = None
) -> Consistency:
    """The verdict on a user from the numbers alone."""
    if not 0 <= agreeing <= repeats <= max(answers - 1, 0):
        raise ValueError(f"{agreeing} of {repeats} repeats agree, in {answers} answers")
    population = population or typical_population()
    random = float(population.responsibilities(np.array([agreeing]), np.array([repeats]))[0, 0])
    verdict: Literal["careless", "careful", "unclear"] = "unclear"
    if repeats and random >= SURE:
        verdict = "careless"
    elif repeats and random <= 1 - SURE:
        verdict = "careful"
    return Consistency(
        answers=answers,
        repeats=repeats,
        agreeing=agreeing,
        share=agreeing / repeats if repeats else None,
        interval=beta_interval(1 + agreeing, 1 + repeats - agreeing),
        random=random,
        verdict=verdict,
    )


def beta_interval(a: float, b: float, outside: float = 0.05) -> tuple[float, float]:
    """The central interval of Beta(a, b), both at least 1, that leaves `outside` out of it."""
    mean, total = a / (a + b), a + b
    sd = np.sqrt(mean * (1 - mean) / (total + 1))
    q = np.linspace(max(mean - REACH * sd, 0.0), min(mean + REACH * sd, 1.0), PLACES)
    inside = q[(q > 0) & (q < 1)]
    log = np.full(PLACES, -np.inf)
    log[(q > 0) & (q < 1)] = (a - 1) * np.log(inside) + (b - 1) * np.log1p(-inside)
    log[q == 0] = 0.0 if a == 1 else -np.inf
    log[q == 1] = 0.0 if b == 1 else -np.inf
    density = np.exp(log - log.max())
    area = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
    low, high = np.interp([outside / 2, 1 - outside / 2], area / area[-1], q)
    return float(low), float(high)
