"""When to stop asking: the chance that the next answer would change what is preferred.

An answer to a pair moves the weights' mean from m to the mode of the posterior that it leaves,
m + a C delta sigmoid(-t), where a = +1 or -1 is the answer and t its margin at that mode, the root
of t = a mu + s^2 sigmoid(-t): one dimension, and exact for a Gaussian prior.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from palate.errors import SettingsError
from palate.maths import mackay_margin
from palate.questions.moments import moments, require_one_user, require_pool, require_uncertainty
from palate.types import WeightDistribution

#: "The next answer would change your ranking with probability under 5%."
SETTLED = 0.05
#: Halvings of the bracket of a root, s^2 wide at first.
HALVINGS = 48


def chance_of_change(
    weights: WeightDistribution,
    delta: Tensor,
    candidates: Tensor,
    what: Literal["best", "order"] = "best",
) -> Tensor:
    """(P,) probability that the answer to a question changes the ranking of some candidates.

    sum over both answers a of P(a) * [the ranking by (m_a . R) is another than by (m . R)], with
    P(a) the calibrated probability of the answer, m_a the mode after it, and "another" that the
    highest candidate is another one ("best") or that any two change places ("order"). Candidates
    with equal rewards keep the order given. Ask on while it is `SETTLED` or more for the best next
    question.

    delta: (P, K) questions. candidates: (n, K) basis rewards R, n at least 1.
    """
    if what not in ("best", "order"):
        raise SettingsError(f"a ranking's change is of 'best' or 'order', not of {what!r}")
    _require(weights, delta, candidates)
    mean = weights.mean[0]
    now = candidates @ mean
    change = torch.zeros(len(delta), dtype=mean.dtype)
    for probability, shift in _answers(weights, delta):
        then = now + shift @ candidates.T
        change += probability * differs(now, then, what)
    return change


def expected_turns(weights: WeightDistribution, delta: Tensor, pairs: Tensor) -> Tensor:
    """(P,) expected share of some pairs (B, K) whose predicted answer a question would turn.

    The same sum as in `chance_of_change`, for predictions of pairs instead of one ranking: the
    mean over the pairs of the probability that the sign of the margin m . delta turns.
    """
    _require(weights, delta, pairs)
    now = pairs @ weights.mean[0]
    turned = torch.zeros(len(delta), dtype=now.dtype)
    for probability, shift in _answers(weights, delta):
        then = now + shift @ pairs.T
        turned += probability * turns(now, then)
    return turned


def _answers(weights: WeightDistribution, delta: Tensor) -> list[tuple[Tensor, Tensor]]:
    """For each answer its probability (P,) and the shift (P, K) of the weights that it causes."""
    assert weights.covariance is not None
    mean, variance = (moment[0] for moment in moments(weights, delta))
    logit = mackay_margin(mean, variance)
    towards = delta @ weights.covariance[0]
    return [
        (
            torch.sigmoid(answer * logit),
            answer * torch.sigmoid(-_margin_after(answer * mean, variance))[:, None] * towards,
        )
        for answer in (1, -1)
    ]


def _margin_after(mean: Tensor, variance: Tensor) -> Tensor:
    """The root t (P,) of t = mean + variance * sigmoid(-t), which lies above the mean.

    t - mean - variance * sigmoid(-t) rises from below 0 at the mean to above it at mean + variance;
    halving that bracket cannot fail, where Newton's method crawls for a large variance.
    """
    mean, variance = mean.double(), variance.double()
    low, high = mean, mean + variance
    for _ in range(HALVINGS):
        t = (low + high) / 2
        above = t > mean + variance * torch.sigmoid(-t)
        low, high = torch.where(above, low, t), torch.where(above, t, high)
    return high.float()


def differs(now: Tensor, then: Tensor, what: str) -> Tensor:
    """(P,) whether rewards `then` (P, n) rank the candidates otherwise than `now` (n,)."""
    if what == "best":
        return (then.argmax(-1) != now.argmax()).to(now.dtype)
    order = torch.argsort(now, descending=True, stable=True)
    # Neighbours that keep their order keep everybody's.
    then = then[:, order]
    return (then[:, 1:] > then[:, :-1]).any(-1).to(now.dtype)


def turns(now: Tensor, then: Tensor) -> Tensor:
    """(P,) share of margins `now` (B,) whose sign is another in `then` (P, B)."""
    return (then.sign() * now.sign() < 0).to(now.dtype).mean(-1)


def _require(weights: WeightDistribution, *tables: Tensor) -> None:
    require_one_user(weights)
    require_uncertainty(weights)
    for table in tables:
        require_pool(weights, table)
