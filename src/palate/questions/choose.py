"""The best questions of a pool: scores of all pairs at once, and batches without repeats."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from palate.errors import SettingsError
from palate.maths import mackay_margin
from palate.questions.moments import moments, require_one_user, require_pool, require_uncertainty
from palate.questions.rules import RULES, Rule
from palate.types import WeightDistribution

#: Two differences of basis rewards are the same pair if they are this close, against the largest.
SAME = 1e-6


@dataclass(frozen=True)
class Choice:
    """A question of a pool.

    index: its row. score: by the rule, as if the questions before it were answered already; None
    for a random one. probability: that the user prefers the pair's first response.
    """

    index: int
    score: float | None
    probability: float


def score(weights: WeightDistribution, delta: Tensor, rule: str = "information") -> Tensor:
    """(U, P) what each question is worth to each of U users; larger is better.

    delta: differences of basis rewards, (P, K) of a pool for all users or (U, P, K) of each user's
    own. Raises `CannotRunError` for weights without a covariance.
    """
    worth = RULES[_known(rule)]
    if worth is None:
        raise SettingsError("random questions have no score")
    require_uncertainty(weights)
    require_pool(weights, delta, own=True)
    return worth(*moments(weights, delta))


def choose(
    weights: WeightDistribution,
    delta: Tensor,
    rule: str = "information",
    count: int = 1,
    generator: torch.Generator | None = None,
) -> list[Choice]:
    """The `count` best questions of a pool (P, K) to one user, the best first.

    After each pick the covariance is conditioned on it, as if it were answered as expected:
    C - c (C delta)(C delta)^T / (1 + c s^2) with c = sigma'(mu), so that what is nearly the same
    question loses its worth. No pair comes twice, either way round: a pool with fewer different
    pairs gives fewer questions. Equal scores keep the pool's order; "random" draws from
    `generator`. Raises `DataError` for an empty pool or one with numbers that are not finite.
    """
    if count < 1:
        raise SettingsError(f"count is {count}; expected 1 or more questions")
    worth = RULES[_known(rule)]
    require_one_user(weights)
    require_pool(weights, delta)
    if worth is not None:
        require_uncertainty(weights)
        return _greedy(weights, delta, worth, count)
    if generator is None:
        raise SettingsError("random questions need a generator")
    return _random(weights, delta, count, generator)


def _greedy(weights: WeightDistribution, delta: Tensor, worth: Rule, count: int) -> list[Choice]:
    """The best pair, then the best one given that it is answered, and so on."""
    assert weights.covariance is not None
    mean, variance = (moment[0] for moment in moments(weights, delta))
    covariance = weights.covariance[0].double()
    probability = torch.sigmoid(mackay_margin(mean, variance))
    scores = worth(mean, variance)
    open_ = torch.ones(len(delta), dtype=torch.bool)
    chosen: list[Choice] = []
    while True:
        best = int(torch.where(open_, scores, -torch.inf).argmax())
        chosen.append(Choice(best, float(scores[best]), float(probability[best])))
        if len(chosen) == count:
            return chosen
        open_ &= ~_same_pair(delta, best)
        if not bool(open_.any()):
            return chosen
        pair = delta[best].double()
        known = torch.sigmoid(mean[best]) * torch.sigmoid(-mean[best])
        towards = covariance @ pair
        share = known / (1 + known * (pair @ towards).clamp_min(0))
        covariance -= share * torch.outer(towards, towards)
        lost = share * (delta @ towards.to(delta.dtype)).square()
        variance = (variance - lost.to(variance.dtype)).clamp_min(0)
        scores = worth(mean, variance)


def _random(
    weights: WeightDistribution, delta: Tensor, count: int, generator: torch.Generator
) -> list[Choice]:
    """Different pairs in random order."""
    mean, variance = delta @ weights.mean[0], None
    if weights.covariance is not None:
        variance = moments(weights, delta)[1][0]
    probability = torch.sigmoid(mackay_margin(mean, variance))
    open_ = torch.ones(len(delta), dtype=torch.bool)
    chosen: list[Choice] = []
    for index in torch.randperm(len(delta), generator=generator).tolist():
        if len(chosen) == count:
            break
        if open_[index]:
            open_ &= ~_same_pair(delta, index)
            chosen.append(Choice(index, None, float(probability[index])))
    return chosen


def _same_pair(delta: Tensor, index: int) -> Tensor:
    """(P,) whether a row is this pair, either way round."""
    pair = delta[index]
    near = SAME * pair.abs().max()
    same = (delta - pair).abs().amax(-1) <= near
    return same | ((delta + pair).abs().amax(-1) <= near)


def _known(rule: str) -> str:
    if rule not in RULES:
        raise SettingsError(f"unknown rule {rule!r}; expected one of {', '.join(RULES)}")
    return rule
