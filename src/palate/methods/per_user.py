"""A model per user: Bradley-Terry from a user's own comparisons alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from palate.methods.factorised import Factorised
from palate.methods.padding import chunks, padded
from palate.methods.settings import MethodSettings
from palate.types import Evidence, PairBatch, UserPosterior, WeightDistribution

#: Ridges to choose from where the settings leave it open.
RIDGES = (100.0, 30.0, 300.0)
ROUNDS = 20
HALVINGS = 8


@dataclass(frozen=True)
class PerUserSettings(MethodSettings):
    """Settings of `per_user`.

    ridge: weight of |w|^2 / 2 against the sum of a user's losses; None chooses one on validation.
    """

    ridge: float | None = None

    def __post_init__(self) -> None:
        self.require(self.ridge is None or self.ridge > 0, "ridge", "greater than 0")

    def candidates(self) -> list[Self]:
        """One for each ridge where it is left open."""
        if self.ridge is not None:
            return [self]
        return [replace(self, ridge=ridge) for ridge in RIDGES]

    @classmethod
    def search_space(cls) -> dict[str, tuple[Any, ...]]:
        """The ridge."""
        return {"ridge": (100.0, 1.0, 3.0, 10.0, 30.0, 300.0, 1000.0, 3000.0)}


class PerUser(Factorised):
    """w_u = argmax sum_i log sigmoid(w . delta_i) - ridge |w|^2 / 2 over hidden states; K = D.

    The backbone is frozen and nothing is shared, so a user without answers has no reward at all:
    every candidate ties. The optimum lies in the span of a user's n differences, w = sum_i a_i
    delta_i, and Newton's method runs on the n numbers a_i of all users at once.
    """

    name = "per_user"
    paper = "Bradley-Terry for each user alone (PReF, section 5)"
    personal = True
    gives_uncertainty = False
    settings_class: ClassVar[type[MethodSettings]] = PerUserSettings
    settings: PerUserSettings

    @property
    def trainable(self) -> bool:
        """Nothing is shared between users."""
        return False

    def initialise(self, pairs: PairBatch, generator: torch.Generator) -> None:
        """There is no parameter."""

    def evidence(self, pairs: PairBatch) -> Tensor:
        """Standardised differences, (B, D)."""
        return self.differences(pairs.features[pairs.chosen], pairs.features[pairs.rejected])

    def posterior(self, evidence: Evidence) -> UserPosterior:
        """Each user's own weights over the hidden state, (U, D)."""
        mean = evidence.rows.new_zeros(evidence.users, self.width)
        for users in chunks(evidence.counts):
            delta, weight = padded(evidence, users)
            share = _dual_newton(delta @ delta.mT, weight, self.settings.ridge or RIDGES[0])
            mean[users] = (share[:, None, :] @ delta)[:, 0]
        return UserPosterior(mean, None, evidence.counts)

    def basis_rewards(self, features: Tensor) -> Tensor:
        """R: the hidden state itself, standardised, (..., D)."""
        return self.differences(features, self.centre) * self.temperature

    def weights(self, posterior: UserPosterior) -> WeightDistribution:
        """The user's own, (U, D)."""
        return WeightDistribution(posterior.mean, None)


def _dual_newton(gram: Tensor, weight: Tensor, ridge: float) -> Tensor:
    """(u, n) coefficients a of each user's optimum, from inner products (u, n, n) of differences.

    Newton's step for w, written for w = sum a_i delta_i: (S G + ridge I) a = S G a + s, with
    s = c sigmoid(-margin) and S = diag(s sigmoid(margin)), where an answer counts c (u, n); steps
    are halved while the objective rises.
    """
    share = gram.new_zeros(weight.shape)
    value = _objective(share, gram, weight, ridge)
    eye = ridge * torch.eye(gram.shape[-1], dtype=gram.dtype)
    for _ in range(ROUNDS):
        margin = (gram @ share[..., None])[..., 0]
        wrong = torch.sigmoid(-margin) * weight
        slope = torch.sigmoid(margin) * wrong
        right = slope * margin + wrong
        target = torch.linalg.solve(slope[..., None] * gram + eye, right)
        step = target - share
        size = torch.ones_like(value)
        for _ in range(HALVINGS):
            tried = share + size[:, None] * step
            found = _objective(tried, gram, weight, ridge)
            worse = found > value
            if not bool(worse.any()):
                break
            size = torch.where(worse, size / 2, size)
        share = torch.where(worse[:, None], share, tried)
        if bool((value - found < 1e-6 * value).all()):
            break
        value = torch.where(worse, value, found)
    return share


def _objective(share: Tensor, gram: Tensor, weight: Tensor, ridge: float) -> Tensor:
    """(u,) the sum of losses and the ridge."""
    margin = (gram @ share[..., None])[..., 0]
    return (F.softplus(-margin) * weight).sum(-1) + ridge / 2 * (share * margin).sum(-1)
