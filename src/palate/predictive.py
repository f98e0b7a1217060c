"""What follows from one user's joint rewards: who is preferred, who is best, what picking costs.

Everything is read off a `RewardDistribution`: candidates share one uncertain user, so that what
they have in common cancels. Where a method gives no uncertainty (`factor` is None) the answers are
those of a certain user: bounds are the rewards themselves, the best is best with probability one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from palate.errors import DataError
from palate.maths import mackay_margin
from palate.types import RewardDistribution

#: Quasi-random draws of the user behind a probability; its error is about 0.001.
DRAWS = 2048
#: Distances without a shortcut by inner products, which would lose a small difference of large
#: factors.
EXACT = "donot_use_mm_for_euclid_dist"


@dataclass(frozen=True, eq=False)
class JointMargins:
    """Rewards of candidates minus those of others, jointly: mean (B,) and covariance (B, B).

    covariance is None for a method without uncertainty.
    """

    mean: Tensor
    covariance: Tensor | None


def joint_margins(rewards: RewardDistribution, first: Tensor, second: Tensor) -> JointMargins:
    """The margins r[first] - r[second] of pairs of candidates, (B,) indices each.

    Raises `DataError` for an index that is no candidate.
    """
    _require_candidates(rewards, first, second)
    mean = rewards.mean[first] - rewards.mean[second]
    if rewards.factor is None:
        return JointMargins(mean, None)
    difference = rewards.factor[first] - rewards.factor[second]
    return JointMargins(mean, difference @ difference.T)


def probability_preferred(rewards: RewardDistribution) -> Tensor:
    """(n, n): entry (i, j) is the probability that the user prefers candidate i to candidate j.

    sigmoid of MacKay's margin over the variance of the difference, the calibrated form of VRF (8);
    one half on the diagonal, and opposite entries add up to one.
    """
    mean = rewards.mean[:, None] - rewards.mean[None, :]
    return torch.sigmoid(mackay_margin(mean, _variance_of_differences(rewards)))


def probability_highest(rewards: RewardDistribution) -> Tensor:
    """(n,) probability that each candidate has the highest reward; equal ones share it.

    Unlike `probability_best` of `palate.ranking` the choice is free of noise: only what is not
    known of the user makes it uncertain.
    """
    drawn = _draws(rewards)
    top = (drawn == drawn.amax(1, keepdim=True)).to(drawn.dtype)
    return (top / top.sum(1, keepdim=True)).mean(0)


def lower_bound(rewards: RewardDistribution, level: float = 0.05) -> Tensor:
    """(n,) rewards that are undercut with probability `level`, each candidate by itself."""
    sd = rewards.sd
    return rewards.mean if sd is None else rewards.mean + _quantile(level) * sd


def lower_bound_over(rewards: RewardDistribution, baseline: int, level: float = 0.05) -> Tensor:
    """(n,) margins over candidate `baseline` that are undercut with probability `level`.

    Zero for the baseline itself; above zero, a candidate is better with confidence 1 - level.
    """
    _require_candidates(rewards, torch.tensor([baseline]))
    mean = rewards.mean - rewards.mean[baseline]
    if rewards.factor is None:
        return mean
    sd = (rewards.factor - rewards.factor[baseline]).square().sum(-1).sqrt()
    return mean + _quantile(level) * sd


def expected_regret(rewards: RewardDistribution) -> Tensor:
    """(n,) expected highest reward minus each candidate's own: what picking it costs on average.

    Never negative; its smallest entry is what perfect knowledge of the user would gain.
    """
    drawn = _draws(rewards)
    return (drawn.amax(1, keepdim=True) - drawn).mean(0)


@lru_cache(maxsize=8)
def standard_normal(dimensions: int) -> Tensor:
    """(DRAWS, dimensions) quasi-random draws from N(0, I), the same ones at each call."""
    engine = torch.quasirandom.SobolEngine(dimensions, True, 0)  # type: ignore[no-untyped-call]
    uniform = engine.draw(DRAWS).clamp(1e-6, 1 - 1e-6)
    return math.sqrt(2) * torch.erfinv(2 * uniform - 1)


def _draws(rewards: RewardDistribution) -> Tensor:
    """(DRAWS, n) rewards of the candidates; (1, n) where they are certain."""
    if rewards.factor is None:
        return rewards.mean[None]
    return rewards.mean + standard_normal(rewards.factor.shape[1]) @ rewards.factor.T


def _variance_of_differences(rewards: RewardDistribution) -> Tensor | None:
    """(n, n) variances of the difference of two rewards."""
    if rewards.factor is None:
        return None
    return torch.cdist(rewards.factor, rewards.factor, compute_mode=EXACT).square()


def _quantile(level: float) -> float:
    """The standard normal's quantile."""
    if not 0 < level < 1:
        raise DataError(f"a bound's level is {level}; expected a probability between 0 and 1")
    return math.sqrt(2) * float(torch.erfinv(torch.tensor(2 * level - 1, dtype=torch.float64)))


def _require_candidates(rewards: RewardDistribution, *indices: Tensor) -> None:
    n = len(rewards.mean)
    for index in indices:
        if bool(((index < 0) | (index >= n)).any()):
            raise DataError(f"a candidate's index is out of range; expected 0 to {n - 1}")
