"""Candidates in order of a user's expected reward, with what is uncertain about it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from palate.types import RankedCandidate, Ranking, RewardDistribution, Text

#: Quasi-random draws of the user behind a probability; its error is about 0.001.
DRAWS = 2048


def rank(rewards: RewardDistribution, texts: Sequence[Text] | None = None) -> Ranking:
    """Candidates by expected reward, best first; equal rewards keep the order given."""
    best = probability_best(rewards)
    sd = rewards.sd
    order = torch.argsort(rewards.mean, descending=True, stable=True).tolist()
    return Ranking(
        tuple(
            RankedCandidate(
                index=i,
                reward=float(rewards.mean[i]),
                sd=None if sd is None else float(sd[i]),
                p_best=float(best[i]),
                text=None if texts is None else texts[i],
            )
            for i in order
        )
    )


def probability_best(rewards: RewardDistribution) -> Tensor:
    """(n,) probability that the user picks each candidate out of all of them.

    Bradley and Terry's choice rule for n candidates (Luce 1959), softmax of the rewards, averaged
    over the uncertain user: for two candidates it is the probability of preference that is trained
    and calibrated. The draws are a fixed Sobol sequence, so the same rewards give the same numbers.
    """
    if rewards.factor is None:
        return torch.softmax(rewards.mean, dim=-1)
    drawn = rewards.mean + _standard_normal(rewards.factor.shape[1]) @ rewards.factor.T
    return torch.softmax(drawn, dim=-1).mean(0)


def _standard_normal(dimensions: int) -> Tensor:
    """(DRAWS, dimensions) quasi-random draws from N(0, I)."""
    engine = torch.quasirandom.SobolEngine(dimensions, True, 0)  # type: ignore[no-untyped-call]
    uniform = engine.draw(DRAWS).clamp(1e-6, 1 - 1e-6)
    return math.sqrt(2) * torch.erfinv(2 * uniform - 1)
