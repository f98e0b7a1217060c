"""Candidates in order of a user's expected reward, with what is uncertain about it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from palate.predictive import standard_normal
from palate.types import RankedCandidate, Ranking, RewardDistribution, Text


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
    drawn = rewards.mean + standard_normal(rewards.factor.shape[1]) @ rewards.factor.T
    return torch.softmax(drawn, dim=-1).mean(0)
