"""BRF, our own: VRF's reading of a user's texts as the prior of an exact Bayesian update."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from palate.methods.laplace import logistic_mode
from palate.methods.settings import MethodSettings
from palate.methods.updating import Laplace, Updater
from palate.methods.vrf import FAINT, VRF, VRFSettings
from palate.types import Evidence, PairBatch, UserPosterior, WeightDistribution

Array = NDArray[np.float64]

#: Answers from which a seen user's weights tell how tastes vary.
ENOUGH = 10
#: Share of the variance of basis rewards that tastes may make up in any direction, so that none is
#: thought impossible.
FLOOR = 0.01


@dataclass(frozen=True)
class BRFSettings(VRFSettings):
    """Settings of `brf`: those of `vrf`, whose training it shares, and

    prior_scale: c, the factor on the covariance of the seen users' weights that is the prior's.
    """

    prior_scale: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(self.prior_scale >= 0, "prior_scale", "0 or more")

    @classmethod
    def search_space(cls) -> dict[str, tuple[Any, ...]]:
        """Those of `vrf` and the prior's scale."""
        return super().search_space() | {"prior_scale": (1.0, 0.3, 3.0)}


class BRF(VRF):
    """Bayesian reward factorisation: lambda_u ~ N(w_u, S), then the likelihood of the answers.

    VRF's encoder reads what a user's comparisons are about and gives the prior mean w_u (6);
    S = c Cov(w) + e I, with Cov(w) over the seen users, learned with the bases, says how far and in
    which directions tastes differ, and e leaves a hundredth of the bases' variance to every other.
    Newton's method finds the mode of
    sum_i log sigmoid(lambda . delta_i) - (lambda - w_u)^T S^-1 (lambda - w_u) / 2 for all users
    at once, and the inverse Hessian there is the covariance (Laplace). No answers leave the prior,
    hence exactly the population's reward. A user's answers are used twice, once by the encoder and
    once by the likelihood, which is why calibration scales the covariance.
    """

    name = "brf"
    infers_from = "both"
    paper = "Bayesian reward factorisation (palate)"
    settings_class: ClassVar[type[MethodSettings]] = BRFSettings
    settings: BRFSettings

    def __init__(self, settings: BRFSettings, width: int) -> None:
        super().__init__(settings, width)
        self.register_buffer("precision", torch.eye(len(self.base_mean)))

    precision: Tensor

    @torch.no_grad()
    def finish(self, pairs: PairBatch) -> None:
        """Learn S from the seen users' weights."""
        read = Evidence(super().evidence(pairs), pairs.offsets)
        weight = self._prior_mean(read.sums(), read.totals)
        informed = weight[pairs.counts >= ENOUGH]
        weight = (informed if len(informed) > 1 else weight).double()
        covariance = self.settings.prior_scale * torch.cov(weight.T, correction=0)
        delta = self._delta(pairs).double()
        apart = (delta - delta.mean(-1, keepdim=True)).square().mean().clamp_min(1e-6)
        floor = FLOOR / apart * torch.eye(len(covariance), dtype=torch.double)
        self.precision = torch.linalg.inv(covariance + floor).float()
        super().finish(pairs)

    @torch.no_grad()
    def evidence(self, pairs: PairBatch) -> Tensor:
        """VRF's natural parameters, then the differences of basis rewards: (B, 2 d + K)."""
        return torch.cat([super().evidence(pairs), self._delta(pairs)], dim=-1)

    def _delta(self, pairs: PairBatch) -> Tensor:
        """(B, K) differences of basis rewards, before temperature."""
        features = pairs.features
        return self._differences_of_rewards(features[pairs.chosen], features[pairs.rejected])

    @torch.no_grad()
    def posterior(self, evidence: Evidence) -> UserPosterior:
        """Mode (U, K) and inverse Hessian (U, K, K)."""
        columns = 2 * self.settings.dimensions
        read = Evidence(evidence.rows[:, :columns], evidence.offsets, evidence.weight)
        answers = Evidence(evidence.rows[:, columns:], evidence.offsets, evidence.weight)
        prior = self._prior_mean(read.sums(), read.totals)
        return logistic_mode(answers, prior, self.precision).posterior(evidence.counts)

    def _prior_mean(self, sums: Tensor, totals: Tensor) -> Tensor:
        """w_u (U, K) of summed natural parameters (U, 2 d)."""
        return self.match(*self._place(sums, totals))

    def updater(self) -> Updater:
        """A new prior mean, then Newton from the last mode."""
        if self.settings.aggregation == "mean":
            return super(VRF, self).updater()
        return Laplace(self._reading(), self.precision, read=2 * self.settings.dimensions)

    @torch.no_grad()
    def _reading(self) -> Callable[[Array], Array]:
        """`_prior_mean` for one user in numpy, where calls of torch would cost more than Newton."""
        base, sd = self.base_mean.double().numpy(), self.base_log_sd.exp().double().numpy()
        temperature = self.settings.temperature or 1.0
        if self.settings.distance == "mean":
            temperature *= self.settings.dimensions
        expert = 1.0 if self.settings.prior_expert else 0.0
        # -W2^2 / T, but for what is the same for every basis.
        toward, toward_sd = 2 * base.T / temperature, 2 * sd.T / temperature
        own = (np.square(base) + np.square(sd)).sum(-1) / temperature

        def prior_mean(sums: Array) -> Array:
            first, second = sums[: len(toward)], sums[len(toward) :]
            variance = 1 / (first + (expert if first[0] > FAINT else 1.0))
            logit = (second * variance).dot(toward) + np.sqrt(variance).dot(toward_sd) - own
            odds = np.exp(logit - max(logit.tolist()))
            weight: Array = odds / sum(odds.tolist())
            return weight

        return prior_mean

    def weights(self, posterior: UserPosterior) -> WeightDistribution:
        """lambda_u with its covariance, times `spread`."""
        assert posterior.covariance is not None
        return WeightDistribution(posterior.mean, self.spread * posterior.covariance)

    def diagnostics(self, posterior: UserPosterior) -> dict[str, Any]:
        """How tastes vary: the prior's standard deviation of the weights, and the users' own."""
        prior = torch.linalg.inv(self.precision.double()).diagonal().sqrt()
        spread = posterior.mean.std(0).mean() if len(posterior) > 1 else torch.zeros(())
        return {
            "prior_sd": prior.tolist(),
            "weight_spread_across_users": float(spread),
            "collapsed": bool(spread < 0.01),
        }
