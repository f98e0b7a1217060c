"""Bayesian logistic regression of all users at once: Newton's method to the mode, Laplace there."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from palate.methods.padding import chunks, padded
from palate.types import Evidence, UserPosterior

#: Newton steps; the objective is strictly convex, and a few reach the mode.
ROUNDS = 50
#: A user's last step is the one whose half squared Newton decrement falls below it (nats).
TOLERANCE = 1e-8
#: Times that a step which does not help is halved.
HALVINGS = 40
#: A step that changes no margin by more lowers the objective for sure: the curvature along it grows
#: by at most e^SAFE, and (e^t - t - 1) / t^2 < 1 up to t = 1.79.
SAFE = 1.75
#: Entries of (users, answers or d, answers or d) in a chunk: few enough for a processor's cache.
ENTRIES = 500_000


@dataclass(frozen=True, eq=False)
class Mode:
    """The mode (U, d) of each user's posterior and the Hessian (U, d, d) of its minus logarithm.

    The Hessian stays in float64: large differences in few directions leave float32 no inverse.
    """

    mean: Tensor
    hessian: Tensor

    @property
    def covariance(self) -> Tensor:
        """(U, d, d) Laplace's approximation: the inverse Hessian."""
        return torch.cholesky_inverse(torch.linalg.cholesky(self.hessian)).float()

    def posterior(self, answers: Tensor) -> UserPosterior:
        """What is known of users who gave so many answers (U,)."""
        covariance = self.covariance
        variance = covariance.diagonal(dim1=-2, dim2=-1)
        return UserPosterior(self.mean, variance, answers, covariance)


def logistic_mode(evidence: Evidence, mean: Tensor, precision: Tensor) -> Mode:
    """argmax over v of sum_i c_i log sigmoid(v . delta_i) - (v - m)^T P (v - m) / 2; PReF (6).

    evidence: rows are differences delta (B, d), weights c. mean: m (d,) or (U, d). precision: P
    (d, d). Solved in float64, in chunks of users with a like number of answers; memory beyond the
    result is that of a chunk.
    """
    precision = precision.double()
    at = mean.expand(evidence.users, -1).to(torch.double, copy=True)
    hessian = precision.expand(evidence.users, -1, -1).clone()
    for users in chunks(evidence.counts, ENTRIES, least=mean.shape[-1]):
        delta, weight = (table.double() for table in padded(evidence, users))
        at[users], hessian[users] = _modes(delta, weight, at[users], precision)
    return Mode(at.float(), hessian)


def _modes(
    delta: Tensor, weight: Tensor, prior: Tensor, precision: Tensor
) -> tuple[Tensor, Tensor]:
    """Modes (u, d) and Hessians (u, d, d) from differences (u, n, d) that count (u, n).

    A user who is there leaves the rounds, so that nobody is moved by who else is in the chunk.
    """
    found, going = prior.clone(), torch.arange(len(prior))
    at, margin = prior, _along(delta, prior)
    left, counted = delta, weight
    for _ in range(ROUNDS):
        wrong = torch.sigmoid(-margin) * counted
        pull = (at - prior[going]) @ precision
        gradient = pull - (wrong[:, None] @ left)[:, 0]
        hessian = _hessian(left, wrong * torch.sigmoid(margin), precision)
        step = torch.cholesky_solve(gradient[..., None], torch.linalg.cholesky(hessian))[..., 0]
        change = _along(left, step)
        ending = (step * gradient).sum(-1) / 2 <= TOLERANCE
        size = _sizes(margin, change, counted, (step * pull).sum(-1), _form(step, precision))
        at = at - size[:, None] * step
        margin = margin - size[:, None] * change
        found[going] = at
        kept = ~ending
        if not bool(kept.any()):
            break
        if bool(ending.any()):
            going, at, margin = going[kept], at[kept], margin[kept]
            left, counted = left[kept], counted[kept]
    margin = _along(delta, found)
    slope = torch.sigmoid(-margin) * weight * torch.sigmoid(margin)
    return found, _hessian(delta, slope, precision)


def _sizes(
    margin: Tensor, change: Tensor, weight: Tensor, linear: Tensor, curved: Tensor
) -> Tensor:
    """(u,) shares of the steps: halved where a step would make the objective larger.

    margin (u, n) changes by -`change`; linear, curved (u,): what the prior's part changes by.
    """
    size = torch.ones_like(linear)
    far = torch.nonzero(change.abs().amax(-1) > SAFE)[:, 0]
    if not len(far):
        return size
    margin, change, weight = margin[far], change[far], weight[far]
    before = (F.softplus(-margin) * weight).sum(-1)
    share = size[far]
    for _ in range(HALVINGS):
        after = (F.softplus(share[:, None] * change - margin) * weight).sum(-1)
        prior = share * (share / 2 * curved[far] - linear[far])
        worse = after - before + prior > 1e-12 * before
        if not bool(worse.any()):
            break
        share = torch.where(worse, share / 2, share)
    else:
        share = torch.where(worse, 0.0, share)
    size[far] = share
    return size


def _along(delta: Tensor, vector: Tensor) -> Tensor:
    """(u, n) products of differences (u, n, d) with vectors (u, d)."""
    return (delta @ vector[..., None])[..., 0]


def _form(vector: Tensor, precision: Tensor) -> Tensor:
    """(u,) v^T P v."""
    return ((vector @ precision) * vector).sum(-1)


def _hessian(delta: Tensor, slope: Tensor, precision: Tensor) -> Tensor:
    """(u, d, d) sum of c sigma' delta delta^T, plus the prior's precision; PReF (8)."""
    return torch.baddbmm(precision, (delta * slope[..., None]).mT, delta)
