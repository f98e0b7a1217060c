"""Bayesian logistic regression of all users at once: Newton's method to the mode, Laplace there."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from palate.types import Evidence

#: Newton steps; the objective is strictly convex, and a few reach the mode.
ROUNDS = 25
#: A user is done when half the squared Newton decrement falls below it (nats).
TOLERANCE = 1e-8
#: Times that a step which does not help is halved.
HALVINGS = 12


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


def logistic_mode(evidence: Evidence, mean: Tensor, precision: Tensor) -> Mode:
    """argmax over v of sum_i log sigmoid(v . delta_i) - (v - m)^T P (v - m) / 2; PReF (6).

    evidence: rows are differences delta (B, d). mean: m (d,) or (U, d). precision: P (d, d).
    Newton's steps are halved, user by user, until the objective does not rise. Solved in float64.
    """
    delta, user = evidence.rows.double(), evidence.user
    prior = mean.double().expand(evidence.users, -1)
    precision = precision.double()
    at = prior.clone()
    value = _objective(at, prior, precision, delta, user)
    for _ in range(ROUNDS):
        margin = (at[user] * delta).sum(-1)
        wrong = torch.sigmoid(-margin)
        gradient = (at - prior) @ precision
        gradient = gradient.index_add(0, user, -wrong[:, None] * delta)
        hessian = _hessian(margin, delta, user, precision, len(at))
        step = torch.cholesky_solve(gradient[..., None], torch.linalg.cholesky(hessian))[..., 0]
        decrement = (step * gradient).sum(-1) / 2
        moving = decrement > TOLERANCE
        if not bool(moving.any()):
            break
        step = step * moving[:, None]  # a user who is there stays, whoever else is in the batch
        at, value = _descend(at, value, step, prior, precision, delta, user)
    margin = (at[user] * delta).sum(-1)
    hessian = _hessian(margin, delta, user, precision, len(at))
    return Mode(at.float(), hessian)


def _descend(
    at: Tensor,
    value: Tensor,
    step: Tensor,
    prior: Tensor,
    precision: Tensor,
    delta: Tensor,
    user: Tensor,
) -> tuple[Tensor, Tensor]:
    """A step of each user, halved while it makes the objective larger."""
    size = torch.ones_like(value)
    for _ in range(HALVINGS):
        tried = at - size[:, None] * step
        found = _objective(tried, prior, precision, delta, user)
        worse = found > value + 1e-12 * value.abs()
        if not bool(worse.any()):
            return tried, found
        size = torch.where(worse, size / 2, size)
    return torch.where(worse[:, None], at, tried), torch.where(worse, value, found)


def _objective(at: Tensor, prior: Tensor, precision: Tensor, delta: Tensor, user: Tensor) -> Tensor:
    """(U,) minus the logarithm of each user's unnormalised posterior."""
    away = at - prior
    value = ((away @ precision) * away).sum(-1) / 2
    margin = (at[user] * delta).sum(-1)
    return value.index_add(0, user, -torch.nn.functional.logsigmoid(margin))


def _hessian(margin: Tensor, delta: Tensor, user: Tensor, precision: Tensor, users: int) -> Tensor:
    """(U, d, d) sum of sigma' delta delta^T, plus the prior's precision; PReF (8)."""
    slope = torch.sigmoid(margin) * torch.sigmoid(-margin)
    outer = (slope[:, None] * delta)[:, :, None] * delta[:, None, :]
    return precision.expand(users, -1, -1).clone().index_add(0, user, outer)
