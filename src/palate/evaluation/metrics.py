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


def auc_per_user(logit: Floats, user: Integers) -> Floats:
    """Each present user's area under the ROC curve, in the order of user numbers.

    A comparison has no label of its own, since chosen stands first; so each enters from both sides:
    as (logit, preferred) and as (-logit, not preferred). The area is the share of pairs of the two
    kinds in the right order, ties one half: of logits i and j, whether their sum is above zero. A
    single comparison gives its accuracy.
    """
    score = np.concatenate([logit, -logit])
    owner = np.concatenate([user, user])
    rank = _mean_rank(score, owner)
    n = np.bincount(user)
    ranks = np.bincount(user, weights=rank[: len(logit)], minlength=len(n))
    present = n > 0
    n, ranks = n[present], ranks[present]
    return np.asarray((ranks - n * (n + 1) / 2) / n**2, dtype=np.float64)


def _mean_rank(score: Floats, owner: Integers) -> Floats:
    """(B,) rank of each score among its owner's, from 1; equal scores share their mean rank."""
    order = np.lexsort((score, owner))
    ordered, owners = score[order], owner[order]
    new_owner = np.flatnonzero(np.append(True, owners[1:] != owners[:-1])[: len(order)])
    start = np.repeat(new_owner, np.diff(np.append(new_owner, len(order))))
    place = np.arange(len(order)) - start + 1.0
    differs = np.append(True, (ordered[1:] != ordered[:-1]) | (owners[1:] != owners[:-1]))
    tie = np.cumsum(differs[: len(order)]) - 1
    mean = np.bincount(tie, weights=place) / np.bincount(tie) if len(order) else place
    rank = np.empty(len(order))
    rank[order] = mean[tie]
    return rank


def worst_tenth(values: Floats) -> float:
    """Mean of the lowest tenth of the users' values, one user at least; NaN without users."""
    if not len(values):
        return float("nan")
    return float(np.sort(values)[: max(1, round(len(values) / 10))].mean())


def in_bins(values: Floats, by: Floats, bins: int = 3) -> Floats:
    """(bins,) means of the users' values in bins of equal count, from the lowest of `by` up."""
    order = np.argsort(by, kind="stable")
    parts = np.array_split(values[order], bins)
    return np.array([part.mean() if len(part) else np.nan for part in parts])
