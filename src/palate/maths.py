"""Every formula that two methods share, once. Shapes as in the glossary: U users, K bases, d, B."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def mackay_scale(variance: Tensor) -> Tensor:
    """1 / sqrt(1 + pi s^2 / 8): how much uncertainty shrinks a margin (MacKay 1992; VRF (8))."""
    return torch.rsqrt(1 + math.pi * variance / 8)


def mackay_margin(mean: Tensor, variance: Tensor | None) -> Tensor:
    """The logit of E[sigmoid(t)] for t ~ N(mean, variance), by MacKay's approximation; VRF (8)."""
    return mean if variance is None else mean * mackay_scale(variance)


def bradley_terry_loss(margin: Tensor) -> Tensor:
    """-log P(chosen preferred) of a margin of rewards, elementwise; VRF (2)."""
    return -F.logsigmoid(margin)


def squared_w2(mean: Tensor, sd: Tensor, means: Tensor, sds: Tensor) -> Tensor:
    """Squared 2-Wasserstein distances of diagonal Gaussians, (U, d) by (K, d) -> (U, K); VRF (6).

    |mu - nu|^2 + |sigma - tau|^2 over standard deviations.
    """
    location = (mean[:, None, :] - means[None, :, :]).square().sum(-1)
    spread = (sd[:, None, :] - sds[None, :, :]).square().sum(-1)
    return location + spread


def gaussian_entropy(sd: Tensor) -> Tensor:
    """Entropy of diagonal Gaussians with standard deviations (..., d) -> (...); VRF (17)."""
    return (0.5 * (1 + math.log(2 * math.pi)) + sd.log()).sum(-1)


def gaussian_log_density(z: Tensor, mean: Tensor, sd: Tensor) -> Tensor:
    """Log density of diagonal Gaussians, broadcast over leading axes, summed over the last."""
    standardised = (z - mean) / sd
    return (-0.5 * standardised.square() - sd.log() - 0.5 * math.log(2 * math.pi)).sum(-1)


def mixture_log_density(z: Tensor, means: Tensor, sds: Tensor) -> Tensor:
    """Log density of the even mixture of K diagonal Gaussians (K, d) at z (..., d); VRF (19)."""
    log_parts = gaussian_log_density(z[..., None, :], means, sds)
    return torch.logsumexp(log_parts, dim=-1) - math.log(len(means))


def categorical_covariance(weight: Tensor) -> Tensor:
    """C = diag(w) - w w^T of weights (..., K) -> (..., K, K).

    delta^T C delta is the weighted variance sum_k w_k (delta_k - mu)^2; VRF (7).
    """
    return torch.diag_embed(weight) - weight[..., :, None] * weight[..., None, :]
