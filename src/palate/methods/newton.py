"""One user's Laplace posterior in numpy: what an answer changes, without the batch's overhead.

Of a few numbers the calls cost more than the arithmetic, and `a.dot(b)` half of `a @ b`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from palate.methods.laplace import HALVINGS, ROUNDS

Array = NDArray[np.float64]

#: Largest margin whose exponential is taken; beyond it a probability is 1 anyhow.
MOST = 700.0
#: Newton steps for one number; what they leave is left to the steps for all.
POLISHINGS = 3
#: A step that changes the margins by a vector no longer than this is bent by the loss's third
#: derivatives (Chebyshev).
NEAR = 1.5
#: The last step is no longer than this: what is left of the mode is of the order of its cube, of
#: the covariance, which is moved along, of its square.
LAST = 0.005


class ModeOfOne(NamedTuple):
    """Where a user's posterior is highest, and how it falls off there.

    at: (d,). covariance: (d, d), the inverse Hessian of minus its logarithm. bend: (n,), halves of
    the answers' third derivatives by their margins, from `LAST` of the mode.
    """

    at: Array
    covariance: Array
    bend: Array


def mode_of_one(
    delta: Array, weight: Array, mean: Array, precision: Array, start: Array | None = None
) -> ModeOfOne:
    """The mode that `laplace.logistic_mode` gives.

    delta: (n, d) differences. weight: (n,) what the answers count. mean: m (d,). precision: P
    (d, d). start: (d,) a point near the mode, such as `forecast` gives.
    """
    at = mean if start is None else start
    for _ in range(ROUNDS):
        margin = delta.dot(at)
        odds = np.exp(np.minimum(margin, MOST))
        against = 1 / (1 + odds)
        wrong = weight * against
        slope = wrong * odds * against
        pull = precision.dot(at - mean)
        covariance = np.linalg.inv(precision + (delta.T * slope).dot(delta))
        step = covariance.dot(pull - wrong.dot(delta))
        change = delta.dot(step)
        reach = change.dot(change)
        bend = slope * (against - 0.5)
        if reach > NEAR**2:
            linear, curved = step.dot(pull), step.dot(precision).dot(step)
            at = at - _size(margin, change, weight, linear, curved) * step
            continue
        moved, spread = bend * change, delta.dot(covariance)
        at = at - step - (moved * change).dot(spread)
        if reach <= LAST**2:
            covariance = covariance + (spread.T * (2 * moved)).dot(spread)
            break
    return ModeOfOne(at, covariance, bend)


def forecast(before: ModeOfOne, delta: Array, weight: Array, shift: Array | float = 0.0) -> Array:
    """Near the mode (d,) with one more answer, the last of delta (n, d) that count (n,).

    First N(mode, C) is joined by the answer alone: the mode moves by c q C delta, q one number.
    Then by the earlier answers' third derivatives. shift: (d,) by how much a new prior moves it.
    """
    row, earlier, counts = delta[-1], delta[:-1], float(weight[-1])
    toward = before.covariance.dot(row)
    margin, spread = float(row.dot(before.at + shift)), float(row.dot(toward))
    against = _against(margin, counts * spread)
    way = (counts * against) * toward + shift
    at: Array = before.at + way
    change = earlier.dot(way)
    if change.dot(change) <= NEAR**2:
        back = before.covariance.dot((before.bend * change * change).dot(earlier))
        slope = counts * against * (1 - against)
        # The covariance with the new answer, by Sherman and Morrison.
        at = at - back + (slope * float(row.dot(back)) / (1 + slope * spread)) * toward
    return at


def _against(margin: float, reach: float) -> float:
    """q = sigmoid(-(margin + reach q)), by Newton's method.

    From where the sigmoid is steepest in [0, 1] every step falls short, on either side.
    """
    against = min(max(-margin / reach, 0.0), 1.0) if reach > 0 else 0.0
    for _ in range(POLISHINGS):
        found = 1 / (1 + math.exp(min(margin + reach * against, MOST)))
        against += (found - against) / (1 + reach * found * (1 - found))
    return against


def _size(margin: Array, change: Array, weight: Array, linear: float, curved: float) -> float:
    """The share of a step that does not make the objective larger; see `laplace._sizes`."""
    before = float(weight @ np.logaddexp(0, -margin))
    size = 1.0
    for _ in range(HALVINGS):
        after = float(weight @ np.logaddexp(0, size * change - margin))
        if after - before + size * (size / 2 * curved - linear) <= 1e-12 * before:
            return size
        size /= 2
    return 0.0
