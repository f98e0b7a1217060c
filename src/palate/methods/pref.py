"""PReF: personalisation by reward factorisation (Shenfeld et al., 2025)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from palate.maths import bradley_terry_loss
from palate.methods.base import Step
from palate.methods.factorisation import factorise_answers
from palate.methods.factorised import LinearBases
from palate.methods.laplace import logistic_mode
from palate.methods.layers import draw_linear
from palate.methods.settings import MethodSettings, TrainingSettings
from palate.methods.updating import Laplace
from palate.types import Evidence, PairBatch, UserPosterior, WeightDistribution

#: Ridge of the regression from features to the factors of pairs, as a share of the mean spread.
RIDGE = 1.0


@dataclass(frozen=True)
class PReFSettings(TrainingSettings):
    """Settings of `pref`.

    bases: K, how many basis rewards are shared.
    start: "svd" factorises the users' answers; "random" is the ablation. Where no pair was
    answered by two users there is nothing to factorise, and "pca" of the differences is taken.
    l2: beta of (6), weight of |lambda_u|^2 / 2 against the sum of a user's losses, in training
    and for a new user.
    """

    bases: int = 8
    start: Literal["svd", "pca", "random"] = "svd"
    l2: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_size("bases")
        self.require_one_of("start", "svd", "pca", "random")
        self.require(self.l2 >= 0, "l2", "0 or more")

    @classmethod
    def search_space(cls) -> dict[str, tuple[Any, ...]]:
        """Those of training, the number of bases and the users' prior."""
        return super().search_space() | {"bases": (8, 4, 16), "l2": (1.0, 0.3, 3.0, 10.0)}


class PReF(LinearBases):
    """P = sigmoid(lambda_u . (phi(x, a) - phi(x, b))), phi linear, lambda_u unconstrained; (4).

    Started from a factorisation of the answers, trained by maximum likelihood on bases and users
    with L2 on the users (5). A new user is the mode of (6), by Newton's method for all users at
    once; its Hessian (8) is the ellipsoid of (7), and its inverse the covariance reported here.

    Deviations: probabilities take that covariance in (VRF (8)); the order of two responses is
    the paper's. l2 is one weight for both stages; the paper's 0.02 a comparison is 2 n 0.02 here
    for a user with n. Without answers lambda = 0: every candidate ties, as the paper has it.
    """

    name = "pref"
    paper = "Language Model Personalization via Reward Factorization (2025)"
    personal = True
    gives_uncertainty = True
    settings_class: ClassVar[type[MethodSettings]] = PReFSettings
    settings: PReFSettings

    def __init__(self, settings: PReFSettings, width: int) -> None:
        super().__init__(settings, width, settings.bases)
        self.register_buffer("started_by_svd", torch.tensor(False))
        self.register_parameter("users", None)

    started_by_svd: Tensor
    users: nn.Parameter | None

    def initialise(self, pairs: PairBatch, generator: torch.Generator) -> None:
        """Users from the factors of their answers, the head by regression onto the pairs'."""
        self._counts = pairs.counts
        K = self.settings.bases
        draw_linear(self.head, generator)
        users = torch.randn(pairs.users, K, generator=generator)
        svd = self.settings.start == "svd"
        factors = factorise_answers(pairs, K, generator) if svd else None
        delta = self.differences(pairs.features[pairs.chosen], pairs.features[pairs.rejected])
        covariance = delta.T @ delta / len(delta)
        with torch.no_grad():
            if factors is not None:
                self.started_by_svd.fill_(True)
                users = factors.users
                ridge = RIDGE * covariance.diagonal().mean() * torch.eye(self.width)
                moment = delta.T @ factors.pairs / len(delta)
                self.head.weight.copy_(torch.linalg.solve(covariance + ridge, moment).T)
            elif self.settings.start != "random":
                axes = torch.linalg.eigh(covariance).eigenvectors.flip(1)[:, :K]
                self.head.weight[: axes.shape[1]].copy_(axes.T / self.width**0.5)
        self.users = nn.Parameter(users)

    def loss(self, step: Step, generator: torch.Generator) -> Tensor:
        """Joint -log likelihood and L2 on the user vectors; (5)."""
        del generator
        assert self.users is not None
        delta = self.delta(step.features, step.chosen, step.rejected)
        user = self.users[step.user]
        loss = step.mean(bradley_terry_loss((user[:, None] * delta).sum(-1)))
        penalty = user.square().sum(-1) / self._counts[step.user]
        return loss + self.settings.l2 / 2 * penalty.mean()

    def finish(self, pairs: PairBatch) -> None:
        """Forget the seen users: they are inferred as any other."""
        del pairs
        self.users = None

    @torch.no_grad()
    def posterior(self, evidence: Evidence) -> UserPosterior:
        """Mode (U, K) of (6) with the inverse of its Hessian (8)."""
        return logistic_mode(evidence, *self._prior()).posterior(evidence.counts)

    def updater(self) -> Laplace:
        """Newton from the last mode."""
        return Laplace(*self._prior())

    def _prior(self) -> tuple[Tensor, Tensor]:
        """Mean (K,) and precision (K, K)."""
        K = self.settings.bases
        return torch.zeros(K), max(self.settings.l2, 1e-3) * torch.eye(K)

    def weights(self, posterior: UserPosterior) -> WeightDistribution:
        """lambda_u with its covariance, times `spread`."""
        assert posterior.covariance is not None
        return WeightDistribution(posterior.mean, self.spread * posterior.covariance)

    def diagnostics(self, posterior: UserPosterior) -> dict[str, Any]:
        """How training started."""
        del posterior
        without = "random" if self.settings.start == "random" else "pca"
        return {"start": "svd" if bool(self.started_by_svd) else without}
