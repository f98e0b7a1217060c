"""What a question is worth, from the mean mu and the variance s^2 of the margin of its pair.

A pair's margin is t = w . delta ~ N(mu, s^2) over the uncertain user w, and the answer is Bernoulli
with probability sigmoid(t). Every rule is elementwise, and the same for a pair either way round.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

#: From mean and variance (...) of the margins to what the questions are worth (...).
Rule = Callable[[Tensor, Tensor], Tensor]

#: sigmoid(t) as a sum of weight * Phi(t / scale), to 5e-6: its mean over a Gaussian t is then a
#: closed form (Monahan and Stefanski 1992). Quadrature with 64 nodes takes six times as long and is
#: fifteen times less exact where s is large.
SIGMOID_WEIGHTS = (0.106527, 0.374149, 0.458387, 0.060937)
SIGMOID_SCALES = (0.977421, 2.104774, 1.431134, 3.114713)
#: The entropy of Bernoulli(sigmoid(t)) as a sum of weight * exp(-t^2 / (2 scale^2)), to 2e-5.
ENTROPY_WEIGHTS = (0.070776, 0.301275, 0.271059, 0.050018)
ENTROPY_SCALES = (1.046282, 1.540714, 2.251319, 3.277946)


def information(mean: Tensor, variance: Tensor) -> Tensor:
    """Expected information gain in nats: what the answer says of the weights (BALD).

    Mutual information of answer and weights, H(E[sigmoid(t)]) - E[H(sigmoid(t))] (Houlsby et al.
    2011). Both are taken less their values at s = 0, which cancel: no variance, no information.
    """
    none = torch.zeros_like(variance)
    surprise = _entropy_of_mean(mean, variance) - _entropy_of_mean(mean, none)
    noise = _mean_entropy(mean, variance) - _mean_entropy(mean, none)
    return (surprise - noise).clamp_min(0)


def ellipsoid(mean: Tensor, variance: Tensor) -> Tensor:
    """|delta|_C = s, the width of the confidence ellipsoid along the pair; PReF (9)."""
    del mean
    return variance.sqrt()


def slope(mean: Tensor, variance: Tensor) -> Tensor:
    """sigma'(mu) |delta|_C: the ellipsoid in units of the answer's probability.

    Deviation from PReF (9), which asks about pairs whose answer is known: there the slope is flat.
    """
    changes: Tensor = torch.sigmoid(mean) * torch.sigmoid(-mean)
    return changes * variance.sqrt()


def eubo(mean: Tensor, variance: Tensor) -> Tensor:
    """Expected utility of the better of the pair, less that of its middle: E|t| / 2.

    EUBO (Lin et al. 2022) is E[max(r_a, r_b)]; the middle of a pair says nothing about the choice
    between the two, and pairs of different prompts have no common zero.
    """
    sd = variance.sqrt()
    away = mean.abs() / sd.clamp_min(1e-12)
    density = torch.exp(-away.square() / 2) / math.sqrt(2 * math.pi)
    utility: Tensor = mean.abs() * (torch.special.ndtr(away) - 0.5) + sd * density
    return utility


#: Every rule by its name; "random" scores nothing and is drawn by `choose`.
RULES: dict[str, Rule | None] = {
    "information": information,
    "slope": slope,
    "ellipsoid": ellipsoid,
    "eubo": eubo,
    "random": None,
}


def _entropy_of_mean(mean: Tensor, variance: Tensor) -> Tensor:
    """H(E[sigmoid(t)]), from the smaller of the two probabilities."""
    against = torch.zeros_like(mean)
    for weight, scale in zip(SIGMOID_WEIGHTS, SIGMOID_SCALES, strict=True):
        against += weight * torch.special.ndtr(-mean.abs() * torch.rsqrt(variance + scale**2))
    entropy: Tensor = -torch.special.xlogy(against, against)
    return entropy - (1 - against) * torch.log1p(-against)


def _mean_entropy(mean: Tensor, variance: Tensor) -> Tensor:
    """E[H(sigmoid(t))]: a Gaussian of t against another, term by term."""
    total = torch.zeros_like(mean)
    for weight, scale in zip(ENTROPY_WEIGHTS, ENTROPY_SCALES, strict=True):
        width = variance + scale**2
        total += weight * scale * torch.rsqrt(width) * torch.exp(-mean.square() / (2 * width))
    return total
