"""VPL: a latent variable per user, inferred from a set of comparisons (Poddar et al., 2024)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from palate.maths import bradley_terry_loss
from palate.methods.base import Margins, Method, Step
from palate.methods.layers import Perceptron, draw_linear, gelu_slope, linear
from palate.methods.padding import chunks, padded
from palate.methods.references import divide
from palate.methods.settings import MethodSettings, TrainingSettings
from palate.types import Evidence, PairBatch, RewardDistribution, UserPosterior


@dataclass(frozen=True)
class VPLSettings(TrainingSettings):
    """Settings of `vpl`.

    dimensions: d of the latent z.
    hidden: width of the pair encoder, the attention and the reward's hidden layer.
    reference_max: largest number of comparisons that a user is inferred from in training.
    kl: weight of KL(q || N(0, I)) at its highest.
    anneal: share of the training over which that weight rises from zero.
    """

    dimensions: int = 8
    hidden: int = 64
    reference_max: int = 20
    kl: float = 0.01
    anneal: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("dimensions", "hidden", "reference_max"):
            self.require_size(name)
        self.require(self.kl >= 0, "kl", "0 or more")
        self.require(0 <= self.anneal <= 1, "anneal", "0 to 1")

    @classmethod
    def search_space(cls) -> dict[str, tuple[Any, ...]]:
        """Those of training, the latent's width and the KL weight."""
        return super().search_space() | {"dimensions": (8, 16), "kl": (0.01, 0.001, 0.1)}


class VPL(Method):
    """Pair encoder, self-attention over a user's pairs, mean: q(z | u); reward = MLP([h; z]).

    At inference z is the posterior's mean. A user without answers has the prior N(0, I).

    Deviations: hidden states come from the frozen backbone; a reward's uncertainty is that of z
    through the reward's slope there (the paper reports none).
    """

    name = "vpl"
    paper = "Personalizing RLHF with Variational Preference Learning (2024)"
    personal = True
    gives_uncertainty = True
    infers_from = "reference"
    settings_class: ClassVar[type[MethodSettings]] = VPLSettings
    settings: VPLSettings

    def __init__(self, settings: VPLSettings, width: int) -> None:
        super().__init__(settings, width)
        hidden, d = settings.hidden, settings.dimensions
        self.pair_encoder = Perceptron(2 * width, hidden, hidden)
        self.attention = linear(hidden, 3 * hidden)
        self.latent = linear(hidden, 2 * d)
        self.from_text = linear(width, hidden)
        self.from_latent = linear(d, hidden, bias=False)
        self.to_reward = linear(hidden, 1, bias=False)

    def initialise(self, pairs: PairBatch, generator: torch.Generator) -> None:
        """All layers at random."""
        self._rising = self.settings.anneal * self.settings.number_of_steps(pairs.users)
        self.pair_encoder.draw(generator)
        for layer in (self.attention, self.latent, self.from_text, self.to_reward):
            draw_linear(layer, generator)
        draw_linear(self.from_latent, generator, gain=math.sqrt(self.settings.dimensions))
        self._taken = 0

    def feature_layers(self) -> list[nn.Linear]:
        """The first layers of the pair encoder and of the reward."""
        return [*self.pair_encoder.reading, self.from_text]

    # -- users --------------------------------------------------------------------------------

    def _encode_pairs(self, chosen: Tensor, rejected: Tensor) -> Tensor:
        read = [self.texts(self.reference(features)) for features in (chosen, rejected)]
        pair = torch.cat(read, dim=-1)
        encoded: Tensor = self.pair_encoder(pair)
        return encoded

    def _join(self, encoded: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance (u, d) of pairs (u, n, hidden), each `present` (u, n) times.

        An answer of weight c is as c copies of it: log c in the attention's logits, c in the mean.
        """
        query, key, value = self.attention(encoded).chunk(3, dim=-1)
        copies = present.log().clamp_min(-1e9)
        attended = F.scaled_dot_product_attention(query, key, value, copies[:, None, :])
        joined = encoded + attended
        count = present.sum(-1, keepdim=True)
        mean = (joined * present[..., None]).sum(1) / count.where(count > 0, 1)
        centre, log_variance = self.latent(mean).chunk(2, dim=-1)
        known = (count > 0).to(centre.dtype)
        return centre * known, log_variance.clamp(-8.0, 4.0) * known

    def evidence(self, pairs: PairBatch) -> Tensor:
        """Encoded pairs, (B, hidden)."""
        features = pairs.features
        return self._encode_pairs(features[pairs.chosen], features[pairs.rejected])

    @torch.no_grad()
    def posterior(self, evidence: Evidence) -> UserPosterior:
        """q(z | u): (U, d); N(0, I) without answers."""
        shape = (evidence.users, self.settings.dimensions)
        mean, variance = evidence.rows.new_zeros(shape), evidence.rows.new_ones(shape)
        for users in chunks(evidence.counts):
            centre, log_variance = self._join(*padded(evidence, users))
            mean[users], variance[users] = centre, log_variance.exp()
        return UserPosterior(mean, variance, evidence.counts)

    # -- training -----------------------------------------------------------------------------

    def loss(self, step: Step, generator: torch.Generator) -> Tensor:
        """-log likelihood of the targets and the annealed KL(q || N(0, I))."""
        division = divide(step, 1, self.settings.reference_max, generator)
        chosen, rejected = step.features[step.chosen], step.features[step.rejected]
        width = division.width
        encoded = self._encode_pairs(chosen[:, :width], rejected[:, :width])
        present = division.is_reference[:, :width].to(encoded.dtype)
        mean, log_variance = self._join(encoded, present)
        noise = torch.randn(mean.shape, generator=generator)
        z = mean + (log_variance / 2).exp() * noise
        margin = self._rewards(self._read(chosen), z[:, None]) - self._rewards(
            self._read(rejected), z[:, None]
        )
        kl = 0.5 * (log_variance.exp() + mean.square() - 1 - log_variance).sum(-1)
        return division.mean(bradley_terry_loss(margin)) + self._kl_weight() * kl.mean()

    def _kl_weight(self) -> float:
        """Rises to `kl` over the first share `anneal` of the steps."""
        self._taken += 1
        return self.settings.kl * min(1.0, self._taken / max(self._rising, 1))

    # -- rewards ------------------------------------------------------------------------------

    def _read(self, features: Tensor) -> Tensor:
        """What the reward's first layer makes of responses, before z: (..., hidden)."""
        read: Tensor = self.from_text(self.texts(features))
        return read

    def _rewards(self, read: Tensor, z: Tensor) -> Tensor:
        rewards: Tensor = self.to_reward(F.gelu(read + self.from_latent(z)))
        return rewards[..., 0] * self.temperature

    def _slopes(self, read: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """Rewards (n,) and their derivatives (n, d) by z (n, d)."""
        inner = read + self.from_latent(z)
        rewards = self._rewards(read, z)
        by_z = (gelu_slope(inner) * self.to_reward.weight[0]) @ self.from_latent.weight
        return rewards, by_z * self.temperature

    @torch.no_grad()
    def reward(
        self, posterior: UserPosterior, features: Tensor, prompt: Tensor | None = None
    ) -> RewardDistribution:
        """One user's rewards of n responses at the mean of z, uncertain through their slopes."""
        del prompt
        self.require_one(posterior)
        assert posterior.variance is not None
        z = posterior.mean.expand(len(features), -1)
        rewards, slopes = self._slopes(self._read(features), z)
        return RewardDistribution(rewards, slopes * (self.spread * posterior.variance[0]).sqrt())

    @torch.no_grad()
    def margins(self, posterior: UserPosterior, pairs: PairBatch) -> Margins:
        """Margins at the mean of z, with the variance of z through their slopes."""
        assert posterior.variance is not None
        read, user = self._read(pairs.features), pairs.user
        z = posterior.mean[user]
        chosen, by_chosen = self._slopes(read[pairs.chosen], z)
        rejected, by_rejected = self._slopes(read[pairs.rejected], z)
        slope = by_chosen - by_rejected
        variance = (slope.square() * posterior.variance[user]).sum(-1) * self.spread
        return Margins(chosen - rejected, variance)
