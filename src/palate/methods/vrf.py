"""VRF: users and bases as Gaussians in one preference space (the VRF paper, 2026)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from palate import maths
from palate.errors import SettingsError
from palate.methods.base import InfersFrom, Step
from palate.methods.calibration import calibrate
from palate.methods.factorised import Factorised
from palate.methods.layers import Perceptron, Residual, draw_linear, dropout, linear
from palate.methods.moments import taste_moments
from palate.methods.references import divide
from palate.methods.settings import MethodSettings, TrainingSettings
from palate.methods.updating import Sums, Updater
from palate.types import Evidence, PairBatch, UserPosterior, WeightDistribution

#: Ridge of the least squares that give bases their rewards, as a share of the mean weight.
RIDGE = 1e-3
#: Scale of the linear head's start: bases near zero, alike.
START = 0.1
#: Answers that weigh less together are none: the inverse of their precision is no float32.
FAINT = 1e-30


@dataclass(frozen=True)
class VRFSettings(TrainingSettings):
    """Settings of `vrf`, in the paper's order.

    estimation: "gradient" trains by (9) as the paper does; "moments" places users and bases by the
    moments of users' differences, in closed form, which wins where many tastes mix in few texts;
    None chooses on validation.
    reference_max: largest n of reference comparisons drawn in training.
    hidden: width of the pair encoder.
    dropout: after the pair encoder's activation.
    dimensions: d of the preference space.
    log_variance: bounds of log s_i^2.
    aggregation: product of Gaussians (5), or the ablation by mean.
    prior_expert: a factor N(0, I) in the product, so that no answers give the prior; the paper's
    model has none.
    bases: K; None is 8 by gradients, 16 by moments, whose bases are interpolated.
    head: "linear", the paper's two layers ("mlp"), or "residual": those two added to a linear map;
    None chooses between the first and the last on validation.
    head_hidden: width between the two layers.
    temperature: T of (6); None is 1 by gradients, twice `dimensions` by moments.
    distance: the sum over dimensions, or their mean.
    attenuated: the loss (8), or the ablation by scalar Bradley-Terry.
    diversity: weight of the bases' repulsion.
    margin: its reach; None is d.
    kl: beta of (9).
    kl_samples: draws that estimate it.
    prior: the mixture of the bases, or N(0, I).
    """

    estimation: Literal["gradient", "moments"] | None = None
    reference_max: int = 20
    hidden: int = 128
    dropout: float = 0.0
    dimensions: int = 8
    log_variance: tuple[float, float] = (-4.0, 6.0)
    aggregation: Literal["product", "mean"] = "product"
    prior_expert: bool = True
    bases: int | None = None
    head: Literal["linear", "mlp", "residual"] | None = None
    head_hidden: int = 64
    temperature: float | None = None
    distance: Literal["sum", "mean"] = "sum"
    attenuated: bool = True
    diversity: float = 1.0
    margin: float | None = None
    kl: float = 0.01
    kl_samples: int = 4
    prior: Literal["mixture", "standard"] = "mixture"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("reference_max", "hidden", "dimensions", "head_hidden", "kl_samples"):
            self.require_size(name)
        if self.bases is not None:
            self.require_size("bases")
            self.require(self.bases >= 2, "bases", "2 or more (bt has one)")
        self.require(0 <= self.dropout < 1, "dropout", "0 up to but not 1")
        self.require(self.temperature is None or self.temperature > 0, "temperature", "above 0")
        self.require(self.kl >= 0 and self.diversity >= 0, "kl", "0 or more, like diversity")
        self.require_one_of("estimation", None, "gradient", "moments")
        self.require_one_of("aggregation", "product", "mean")
        self.require_one_of("head", None, "linear", "mlp", "residual")
        self.require_one_of("distance", "sum", "mean")
        self.require_one_of("prior", "mixture", "standard")
        if len(self.log_variance) != 2 or self.log_variance[0] >= self.log_variance[1]:
            raise SettingsError("setting log_variance is two bounds, the lower one first")
        if self.estimation == "moments":
            self.require(self.head in (None, "linear"), "head", "linear, which moments estimate")
            self.require(
                self.hidden >= 2 * self.dimensions, "hidden", "twice dimensions for moments"
            )

    def candidates(self) -> list[Self]:
        """Gradients with each weight decay and head, and moments where nothing forbids them."""
        if self.estimation == "moments":
            bases, temperature = self.bases or 16, self.temperature or 2.0 * self.dimensions
            decay = self.weight_decay or 0.0
            chosen = replace(self, head="linear", bases=bases, temperature=temperature)
            return [replace(chosen, weight_decay=decay)]
        bases, temperature = self.bases or 8, self.temperature or 1.0
        by_gradient = replace(self, estimation="gradient", bases=bases, temperature=temperature)
        found = TrainingSettings.candidates(replace(by_gradient, head=self.head or "linear"))
        if self.head is None:  # one decay for the slower head: three would double the search
            found += TrainingSettings.candidates(replace(by_gradient, head="residual"))[:1]
        fits = self.head in (None, "linear") and self.hidden >= 2 * self.dimensions
        if self.estimation is None and fits:
            found += replace(self, estimation="moments").candidates()
        return found

    def by_gradient(self) -> Self:
        """The paper's training."""
        return replace(self, estimation="gradient")

    @classmethod
    def search_space(cls) -> dict[str, tuple[Any, ...]]:
        """Those of training, the head and the number of bases; the estimation is a candidate."""
        return super().search_space() | {"head": ("linear", "residual"), "bases": (None, 4, 16)}


class VRF(Factorised):
    """Variational reward factorisation.

    A pair encoder gives each comparison a Gaussian, their product (5) is the user q_u, Wasserstein
    distances to the bases give the weights (6), and the weights' spread over the basis rewards
    gives a margin its variance (7).

    Deviations, each a setting with the paper's way: a linear head R over frozen features (`head`),
    a prior expert so that a user without answers has the population's weights (`prior_expert`),
    a random number of reference comparisons in each step, and estimation by moments beside the
    paper's training (`estimation`). Rewards and the variance of (7) are scaled by two factors
    fitted on validation comparisons; the first is 1 in the paper, and so is the second.
    """

    name = "vrf"
    paper = "Uncertainty-Aware Variational Reward Factorization (2026)"
    personal = True
    gives_uncertainty = True
    infers_from: ClassVar[InfersFrom] = "reference"
    settings_class: ClassVar[type[MethodSettings]] = VRFSettings
    settings: VRFSettings

    def __init__(self, settings: VRFSettings, width: int) -> None:
        super().__init__(settings, width)
        d, bases = settings.dimensions, settings.bases or 0
        self.encoder_in = linear(2 * width, settings.hidden)
        self.encoder_out = linear(settings.hidden, 2 * d)
        self.head = _head(settings, width, bases)
        self.base_mean = nn.Parameter(torch.empty(bases, d))
        self.base_log_sd = nn.Parameter(torch.empty(bases, d))

    @property
    def trainable(self) -> bool:
        """By gradients; moments leave nothing to train."""
        return self.settings.estimation != "moments"

    def initialise(self, pairs: PairBatch, generator: torch.Generator) -> None:
        """Bases nu ~ N(0, I), tau = 1 and the head near zero; or all of it by moments."""
        draw_linear(self.encoder_in, generator)
        draw_linear(self.encoder_out, generator)
        if isinstance(self.head, nn.Linear):
            draw_linear(self.head, generator, gain=START)
        elif isinstance(self.head, Residual):
            self.head.draw(generator, gain=START)
        else:
            self.head.draw(generator)
        with torch.no_grad():
            self.base_mean.normal_(generator=generator)
            self.base_log_sd.zero_()
            if self.settings.estimation == "moments":
                self._estimate(pairs, generator)

    def _estimate(self, pairs: PairBatch, generator: torch.Generator) -> None:
        """All parameters from the moments of users' differences, without a training step.

        Encoder: evidence of a comparison is linear in its difference, with the variance that
        comparisons of one user have. A pair of hidden units holds a direction and its opposite,
        since gelu(t) - gelu(-t) = t. Bases: centres of the users' clusters. Head: the least-squares
        rewards with which the users' weights give each its place.
        """
        d, K = self.settings.dimensions, len(self.base_mean)
        delta = self.differences(pairs.features[pairs.chosen], pairs.features[pairs.rejected])
        moments = taste_moments(delta, pairs.user, d, K, generator)
        self.encoder_in.weight[: 2 * d] = 0
        self.encoder_in.weight[: 2 * d, self.width :] = torch.cat(
            [moments.directions.T, -moments.directions.T]
        )
        self.encoder_in.bias[: 2 * d] = 0
        self.encoder_out.weight.zero_()
        self.encoder_out.weight[:d, : 2 * d] = torch.cat([torch.eye(d), -torch.eye(d)], dim=1)
        self.encoder_out.bias[:d] = -moments.offset
        self.encoder_out.bias[d:] = moments.noise.log()
        self.base_mean.copy_(moments.centres)
        read = Evidence(VRF.evidence(self, pairs), pairs.offsets)
        mean, variance = self._place(read.sums(), read.totals)
        weight = self.match(mean, variance)
        gram = weight.T @ weight + RIDGE * len(weight) / K * torch.eye(K)
        places = torch.linalg.solve(gram, weight.T @ mean)
        assert isinstance(self.head, nn.Linear)
        self.head.weight.copy_(moments.population + places @ moments.rewards.T)

    def finish(self, pairs: PairBatch) -> None:
        """Rewards by moments have a scale of no meaning: that of the answers is found."""
        if not self.trainable:
            calibration = calibrate(self.margins(self.infer(pairs), pairs))
            self.temperature.fill_(calibration.temperature)
            self.spread.fill_(calibration.spread)

    def feature_layers(self) -> list[nn.Linear]:
        """The first layers of encoder and head."""
        reading = [self.head] if isinstance(self.head, nn.Linear) else self.head.reading
        return [self.encoder_in, *reading]

    # -- users: equations (5) and (6) ---------------------------------------------------------

    def encode_pairs(
        self, chosen: Tensor, rejected: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Mean m_i and variance s_i^2, (..., d) each, of comparisons of hidden states (..., D)."""
        chosen, rejected = self.reference(chosen), self.reference(rejected)
        shared = ((chosen + rejected) / 2 - self.centre) * self.scale[0]
        pair = torch.cat([shared, self.differences(chosen, rejected)], dim=-1)
        hidden = F.gelu(self.encoder_in(pair))
        if generator is not None:
            hidden = dropout(hidden, self.settings.dropout, generator)
        mean, log_variance = self.encoder_out(hidden).chunk(2, dim=-1)
        return mean, log_variance.clamp(*self.settings.log_variance).exp()

    def _statistics(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        """What adds up over a user's comparisons, (..., d) each: natural parameters for (5)."""
        if self.settings.aggregation == "mean":
            return variance, mean
        return 1 / variance, mean / variance

    def _posterior(self, first: Tensor, second: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance (U, d) from summed statistics and what was summed (U,); (5)."""
        none = (count < FAINT).to(first.dtype)[:, None]
        if self.settings.aggregation == "mean":
            total = count[:, None] + none
            return second / total, first / total + none
        # Without the prior expert nobody could be placed by no answers: they get it all the same.
        precision = first + (1 if self.settings.prior_expert else none)
        return second / precision, 1 / precision

    def match(self, mean: Tensor, variance: Tensor) -> Tensor:
        """Weights (U, K): softmax of -W2^2 / T to the bases; (6)."""
        distance = maths.squared_w2(mean, variance.sqrt(), self.base_mean, self.base_log_sd.exp())
        if self.settings.distance == "mean":
            distance = distance / self.settings.dimensions
        return torch.softmax(-distance / (self.settings.temperature or 1.0), dim=-1)

    # -- training: equations (7) to (9) -------------------------------------------------------

    def loss(self, step: Step, generator: torch.Generator) -> Tensor:
        """Attenuated preference loss + diversity of the bases + beta KL(q_u || prior); (9)."""
        least = 0 if self.settings.prior_expert else 1
        division = divide(step, least, self.settings.reference_max, generator)
        width = division.width
        chosen, rejected = step.features[step.chosen], step.features[step.rejected]
        pairs = self.encode_pairs(chosen[:, :width], rejected[:, :width], generator)
        mask = division.is_reference[:, :width, None].to(chosen.dtype)
        first, second = ((statistic * mask).sum(1) for statistic in self._statistics(*pairs))
        mean, variance = self._posterior(first, second, division.count)
        weights = self.match(mean, variance)
        delta = self._differences_of_rewards(chosen, rejected)
        margin = (weights[:, None] * delta).sum(-1)
        if self.settings.attenuated:
            spread = (weights[:, None] * (delta - margin[..., None]).square()).sum(-1)
            margin = maths.mackay_margin(margin, spread)
        preference = division.mean(maths.bradley_terry_loss(margin))
        total = preference + self.settings.diversity * self.diversity_loss()
        if self.settings.kl > 0:
            total = total + self.settings.kl * self.kl_loss(mean, variance, generator).mean()
        return total

    def diversity_loss(self) -> Tensor:
        """Mean over pairs of bases of relu(margin - W2^2): bases keep apart; (9)."""
        sd = self.base_log_sd.exp()
        distance = maths.squared_w2(self.base_mean, sd, self.base_mean, sd)
        first, second = torch.triu_indices(len(sd), len(sd), offset=1)
        reach = self.settings.margin
        reach = float(self.settings.dimensions) if reach is None else reach
        return F.relu(reach - distance[first, second]).mean()

    def kl_loss(self, mean: Tensor, variance: Tensor, generator: torch.Generator) -> Tensor:
        """(U,) estimates of KL(q_u || prior): minus entropy, minus mean log prior; (16) to (19)."""
        sd = variance.sqrt()
        if self.settings.prior == "standard":
            return 0.5 * (variance + mean.square() - 1 - variance.log()).sum(-1)
        shape = (self.settings.kl_samples, *mean.shape)
        z = mean + sd * torch.randn(shape, generator=generator, dtype=mean.dtype)
        log_prior = maths.mixture_log_density(z, self.base_mean, self.base_log_sd.exp())
        return -maths.gaussian_entropy(sd) - log_prior.mean(0)

    # -- rewards and inference ----------------------------------------------------------------

    def _differences_of_rewards(self, chosen: Tensor, rejected: Tensor) -> Tensor:
        """Differences of basis rewards (..., K) of hidden states (..., D), before temperature."""
        if isinstance(self.head, nn.Linear):
            difference: Tensor = self.head(self.differences(chosen, rejected))
            return difference
        toward: Tensor = self.head(self.texts(chosen))
        away: Tensor = self.head(self.texts(rejected))
        return toward - away

    def basis_rewards(self, features: Tensor) -> Tensor:
        """R: features (..., D) -> rewards (..., K)."""
        linear = isinstance(self.head, nn.Linear)
        read = self.differences(features, self.centre) if linear else self.texts(features)
        rewards: Tensor = self.head(read) * self.temperature
        return rewards

    def evidence(self, pairs: PairBatch) -> Tensor:
        """Natural parameters of each comparison's Gaussian, which add up: (B, 2 d)."""
        features = pairs.features
        encoded = self.encode_pairs(features[pairs.chosen], features[pairs.rejected])
        return torch.cat(self._statistics(*encoded), dim=-1)

    @torch.no_grad()
    def posterior(self, evidence: Evidence) -> UserPosterior:
        """q_u by (5): (U, d); N(0, I) for a user without answers."""
        return self._of_sums(evidence.sums(), evidence.totals, evidence.counts)

    def _of_sums(self, sums: Tensor, totals: Tensor, counts: Tensor) -> UserPosterior:
        return UserPosterior(*self._place(sums, totals), counts)

    def _place(self, sums: Tensor, totals: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance (U, d) of q_u from summed statistics (U, 2 d); (5)."""
        first, second = sums.chunk(2, dim=-1)
        return self._posterior(first, second, totals)

    def updater(self) -> Updater:
        """Natural parameters add up."""
        return Sums(2 * self.settings.dimensions, self._of_sums)

    @torch.no_grad()
    def weights(self, posterior: UserPosterior) -> WeightDistribution:
        """w_u with covariance diag(w) - w w^T, times `spread`: its form in delta is (7)."""
        assert posterior.variance is not None
        weight = self.match(posterior.mean, posterior.variance)
        return WeightDistribution(weight, self.spread * maths.categorical_covariance(weight))

    def diagnostics(self, posterior: UserPosterior) -> dict[str, Any]:
        """Signs of collapse: the weights' entropy, their spread, users per dominant basis."""
        weight = self.weights(posterior).mean
        entropy = -(weight * weight.clamp_min(1e-12).log()).sum(-1)
        dominant = torch.bincount(weight.argmax(-1), minlength=weight.shape[1])
        spread = weight.std(0).mean() if len(weight) > 1 else torch.zeros(())
        return {
            "weight_entropy": float(entropy.mean()),
            "weight_entropy_of_even_weights": math.log(weight.shape[1]),
            "weight_spread_across_users": float(spread),
            "users_per_dominant_basis": dominant.tolist(),
            "collapsed": bool(spread < 0.01),
        }


def _head(settings: VRFSettings, width: int, bases: int) -> nn.Linear | Perceptron:
    if settings.head in (None, "linear"):
        return linear(width, bases, bias=False)
    kind = Residual if settings.head == "residual" else Perceptron
    return kind(width, settings.head_hidden, bases)
