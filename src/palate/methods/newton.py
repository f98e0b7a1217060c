"""One user's Laplace posterior in numpy: what an answer changes, without the batch's overhead."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from palate.methods.laplace import HALVINGS, ROUNDS, TOLERANCE

Array = NDArray[np.float64]

#: Largest margin whose exponential is taken; beyond it a probability is 1 anyhow.
MOST = 700.0
#: Halvings and Newton steps for one number; what they leave is left to the steps for all.
BISECTIONS, POLISHINGS = 5, 2
#: A step that changes no margin by more is bent by the third derivative (Chebyshev).
NEAR = 1.0


def mode_of_one(
    delta: Array, weight: Array, mean: Array, precision: Array, start: Array | None = None
) -> tuple[Array, Array]:
    """The mode (d,) and the Hessian (d, d) there, as `laplace.logistic_mode` gives them.

    delta: (n, d) differences. weight: (n,) what the answers count. mean: m (d,). precision: P
    (d, d). start: (d,) a point near the mode, such as that of all answers but one.
    """
    at = mean if start is None else start
    for _ in range(ROUNDS):
        margin = delta @ at
        against, wrong, slope = _wrong(margin, weight)
        pull = precision @ (at - mean)
        gradient = pull - wrong @ delta
        covariance = np.linalg.inv(precision + (delta.T * slope) @ delta)
        step = covariance @ gradient
        decrement = float(step @ gradient) / 2
        change = delta @ step
        reach = float(np.abs(change).max(initial=0.0))
        if reach <= NEAR:
            bend = slope * (against - 0.5) * change * change  # half the third derivative
            at = at - step - covariance @ (bend @ delta)
            # What is left of the way is of the order of reach^2 of it.
            if decrement * reach**4 <= 1e-4 * TOLERANCE:
                break
        else:
            linear, curved = float(step @ pull), float(step @ precision @ step)
            at = at - _size(margin, change, weight, linear, curved) * step
    *_, slope = _wrong(delta @ at, weight)
    return at, precision + (delta.T * slope) @ delta


def with_answer(mode: Array, covariance: Array, row: Array, weight: float) -> Array:
    """Near the mode (d,) with one more answer: its row (d,) joined to N(mode, covariance).

    The mode moves by a C delta with a = c sigmoid(-(v . delta + a delta^T C delta)): one number.
    """
    toward = covariance @ row
    margin, spread = float(row @ mode), float(row @ toward)
    share, half = weight / 2, weight / 4
    for _ in range(BISECTIONS):
        against = 1 / (1 + math.exp(min(margin + share * spread, MOST)))
        share += half if weight * against > share else -half
        half /= 2
    for _ in range(POLISHINGS):
        against = 1 / (1 + math.exp(min(margin + share * spread, MOST)))
        share += (weight * against - share) / (1 + weight * spread * against * (1 - against))
    return mode + share * toward


def _wrong(margin: Array, weight: Array) -> tuple[Array, Array, Array]:
    """q = sigmoid(-margin), c q and c q (1 - q), (n,) each."""
    odds = np.exp(np.minimum(margin, MOST))
    against = 1 / (1 + odds)
    wrong = weight * against
    return against, wrong, wrong * odds * against


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
