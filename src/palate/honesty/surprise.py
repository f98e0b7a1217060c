"""Predictive surprise: whether, and since when, a user's answers stopped fitting.

Answer i was predicted with logit l_i from the answers before it, p_i = sigmoid(l_i). Its surprise
-log p_i has, where the prediction is right, mean H(p_i) and standard deviation
sqrt(p_i (1 - p_i)) |l_i|. That tells of one answer or of all together. A change within them is
found by Page's cumulative sum (1954): the likelihood of answers k, k + 1, ... under "the taste
that was learned says nothing now" (sigmoid(0)) or "it is the reverse" (sigmoid(-l)) over that
under "it still fits" (sigmoid(l)), at the k for which that is largest.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

#: What the learned logits are worth under the alternatives: nothing, and the opposite.
ALTERNATIVES = (0.0, -1.0)
#: Answers for which a false-alarm rate is given, and the rate by default.
ANSWERS = 100
RATE = 0.01
#: Simulated users that a threshold is taken from.
DRAWS = 4000


def standardised_surprise(logit: Tensor) -> Tensor:
    """(B,) (-log p - its expectation) / its standard deviation: -sign(l) exp(-l / 2).

    Mean 0 and variance 1 over the model's own predictions. An answer of which nothing was
    predicted (l = 0) surprises nobody: 0.
    """
    return -logit.sign() * torch.exp(-logit / 2)


def total_surprise(logit: Tensor, offsets: Tensor) -> Tensor:
    """(U,) sum over a user's answers of -log p - H(p), over its standard deviation; 0 for none.

    Close to N(0, 1) where the predictions are right, since what each answer adds has mean 0
    whatever was answered before; large where answers are worse predicted than was thought.
    """
    _require_users(logit, offsets)
    logit = logit.double()
    excess = -logit * torch.sigmoid(-logit)
    variance = torch.sigmoid(logit) * torch.sigmoid(-logit) * logit.square()
    sums = [_sums(values, offsets) for values in (excess, variance)]
    return torch.where(sums[1] > 0, sums[0] * sums[1].clamp_min(1e-300).rsqrt(), 0.0)


def _sums(values: Tensor, offsets: Tensor) -> Tensor:
    user = torch.repeat_interleave(torch.arange(len(offsets) - 1), offsets.diff())
    return values.new_zeros(len(offsets) - 1).index_add(0, user, values)


@dataclass(frozen=True, eq=False)
class Drift:
    """Whether U users' answers stopped fitting; answers are counted from 0 for each user.

    alarm: (U,) whether the statistic reached the threshold. since: (U,) the first answer that no
    longer fits, as seen at the alarm; -1 without one. raised: (U,) the answer that raised the
    alarm; -1 without one. statistic: (U,) its largest value, a log likelihood ratio in nats.
    """

    alarm: Tensor
    since: Tensor
    raised: Tensor
    statistic: Tensor


def detect(logit: Tensor, offsets: Tensor, threshold: float) -> Drift:
    """When each user's cumulative sum first reaches the threshold, if ever.

    logit: (B,) prequential logits, user after user. offsets: (U + 1,). threshold: in nats, by
    `threshold_of`. Raises `ValueError` for logits that are not finite or no threshold above 0.
    """
    _require_finite(logit)
    _require_users(logit, offsets)
    if not threshold > 0:
        raise ValueError(f"threshold is {threshold}; expected a number of nats above 0")
    padded, counts = _padded(logit, offsets)
    statistic, start = cumulative_sum(padded)
    statistic = statistic.masked_fill(torch.arange(padded.shape[1]) >= counts[:, None], 0.0)
    over = statistic >= threshold
    alarm = over.any(1)
    raised = over.double().argmax(1)
    since = start.gather(1, raised[:, None])[:, 0]
    return Drift(
        alarm=alarm,
        since=torch.where(alarm, since, -1),
        raised=torch.where(alarm, raised, -1),
        statistic=statistic.amax(1),
    )


def cumulative_sum(logit: Tensor) -> tuple[Tensor, Tensor]:
    """After each answer of (U, n): the largest log ratio over starts and alternatives, its start.

    max over k of C_i - C_k is C_i minus the running minimum of C: Page's recursion in closed form.
    """
    C = torch.stack([F.logsigmoid(c * logit.double()) for c in ALTERNATIVES])
    C = F.pad((C - F.logsigmoid(logit.double())).cumsum(-1), (1, 0))
    lowest, place = C.cummin(-1)
    ratio = C[..., 1:] - lowest[..., :-1]
    best, alternative = ratio.max(0)
    return best, place[..., :-1].gather(0, alternative[None])[0]


def threshold_of(
    logit: Tensor,
    generator: torch.Generator,
    *,
    rate: float = RATE,
    answers: int = ANSWERS,
    draws: int = DRAWS,
) -> float:
    """The threshold that a user whose taste fits reaches within `answers` with probability `rate`.

    By simulation under the model's own predictions: sequences of predictions are drawn from those
    given (B,), answers from the predictions. Raises `ValueError` without a prediction to draw, or
    for a rate that the draws cannot tell from none.
    """
    _require_finite(logit)
    if not 1 / draws <= rate < 1:
        raise ValueError(f"rate is {rate}; expected {1 / draws:g} (one of the draws) up to 1")
    if answers < 1 or not len(logit):
        raise ValueError("expected at least one answer, and one prediction to draw from")
    drawn = torch.randint(len(logit), (draws, answers), generator=generator)
    predicted = logit.double().abs()[drawn]
    fits = torch.rand(drawn.shape, generator=generator, dtype=torch.float64)
    simulated = torch.where(fits < torch.sigmoid(predicted), predicted, -predicted)
    highest = cumulative_sum(simulated)[0].amax(1)
    # Where hardly anything is predicted no sum may ever rise: the threshold stays above 0.
    return max(float(torch.quantile(highest, 1 - rate, interpolation="higher")), 1e-6)


def _padded(logit: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
    """(U, most) logits, 0 past a user's last, where no alternative differs; counts (U,)."""
    counts = offsets.diff()
    most = max(int(counts.max()) if len(counts) else 0, 1)
    padded = logit.new_zeros(len(counts), most)
    present = torch.arange(most) < counts[:, None]
    padded[present] = logit
    return padded, counts


def _require_finite(logit: Tensor) -> None:
    if logit.ndim != 1 or not bool(logit.isfinite().all()):
        raise ValueError("expected logits (B,), all of them finite")


def _require_users(logit: Tensor, offsets: Tensor) -> None:
    if (
        len(offsets) < 1
        or offsets[0] != 0
        or offsets[-1] != len(logit)
        or offsets.diff().lt(0).any()
    ):
        raise ValueError(f"offsets must run from 0 to {len(logit)} and not decrease")
