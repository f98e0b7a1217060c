"""Metrics: pure functions of logits, per user first, the mean over users second."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

#: Half-width of a 95% interval in standard errors.
NORMAL_95 = 1.959964


@dataclass(frozen=True)
class UserMean:
    """A mean over users with its standard error; users is how many it was taken over."""

    mean: float
    standard_error: float
    users: int

    @property
    def interval(self) -> tuple[float, float]:
        """95% interval for the mean over users, by the normal approximation."""
        half = NORMAL_95 * self.standard_error
        return self.mean - half, self.mean + half


def hits(logit: Floats) -> Floats:
    """1 where the chosen response is predicted, 0 where the rejected one is, a tie one half."""
    return np.where(logit == 0, 0.5, (logit > 0).astype(np.float64))


def log_loss(logit: Floats) -> Floats:
    """-log P(chosen preferred) of each comparison, in nats."""
    return np.logaddexp(0.0, -logit)


def per_user(values: Floats, user: Integers) -> Floats:
    """Each present user's mean of its comparisons' values, in the order of user numbers."""
    count = np.bincount(user)
    total = np.bincount(user, weights=values)
    return total[count > 0] / count[count > 0]


def over_users(values: Floats) -> UserMean:
    """Mean of the users' values with the standard error over users (NaN for fewer than two)."""
    users = len(values)
    if users == 0:
        return UserMean(float("nan"), float("nan"), 0)
    error = float(values.std(ddof=1) / np.sqrt(users)) if users > 1 else float("nan")
    return UserMean(float(values.mean()), error, users)


def calibration_error(logit: Floats, bins: int = 15) -> float:
    """Expected calibration error over bins of equal count by confidence.

    The mean over bins, weighted by size, of |mean confidence - share predicted rightly|, where
    confidence is the probability given to the response that is predicted.
    """
    if not len(logit):
        return float("nan")
    confidence = 1 / (1 + np.exp(-np.abs(logit)))
    right = hits(logit)
    order = np.argsort(confidence, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    gaps = [abs(confidence[part].mean() - right[part].mean()) * len(part) for part in parts]
    return float(sum(gaps) / len(logit))
