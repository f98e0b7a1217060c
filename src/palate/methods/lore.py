"""LoRe: a low-rank reward, users as convex weights over linear bases (Bose et al., 2025)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from palate.maths import bradley_terry_loss
from palate.methods.base import Step
from palate.methods.factorised import LinearBases
from palate.methods.layers import draw_linear
from palate.methods.settings import MethodSettings, TrainingSettings
from palate.methods.simplex import likeliest_weights
from palate.types import Evidence, PairBatch, UserPosterior, WeightDistribution


@dataclass(frozen=True)
class LoReSettings(TrainingSettings):
    """Settings of `lore`.

    bases: K, how many basis rewards are shared.
    gain: scale of the bases' start; larger ones differ more from each other.
    pull: weight of 1 - cos(V_k, reference), which keeps every basis near the reward that
    everybody's mean difference points to; 0 is without.
    """

    bases: int = 8
    gain: float = 1.0
    pull: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_size("bases")
        self.require(self.bases >= 2, "bases", "2 or more (bt has one)")
        self.require(self.gain > 0, "gain", "greater than 0")
        self.require(self.pull >= 0, "pull", "0 or more")

    @classmethod
    def search_space(cls) -> dict[str, tuple[Any, ...]]:
        """Those of training, and the number of bases."""
        return super().search_space() | {"bases": (8, 4, 16), "gain": (1.0, 0.1)}


class LoRe(LinearBases):
    """margin = (e+ - e-) V w_u with V (D, K) linear and w_u = softmax(logits_u).

    V and the seen users' logits are trained by their joint likelihood. An unseen user gets the
    likeliest weights with V fixed and no regulariser, as in the original.

    Deviations: the original starts a user's logits at random and takes a fixed number of Adam
    steps; here all users go by damped Newton steps from the mean weights of the seen users, which
    is what a user without answers keeps. Seen users are inferred the same way.
    """

    name = "lore"
    paper = "LoRe: Personalizing LLMs via Low-Rank Reward Modeling (2025)"
    personal = True
    gives_uncertainty = False
    settings_class: ClassVar[type[MethodSettings]] = LoReSettings
    settings: LoReSettings

    def __init__(self, settings: LoReSettings, width: int) -> None:
        super().__init__(settings, width, settings.bases)
        self.register_buffer("population", torch.full((settings.bases,), 1 / settings.bases))
        self.register_parameter("users", None)

    population: Tensor
    users: nn.Parameter | None

    def initialise(self, pairs: PairBatch, generator: torch.Generator) -> None:
        """Bases and the seen users' logits at random."""
        draw_linear(self.head, generator, gain=self.settings.gain)
        start = torch.rand(pairs.users, self.settings.bases, generator=generator)
        self.users = nn.Parameter(start)
        delta = self.differences(pairs.features[pairs.chosen], pairs.features[pairs.rejected])
        self._reference = delta.mean(0)

    def loss(self, step: Step, generator: torch.Generator) -> Tensor:
        """Joint -log likelihood of bases and users, and the optional pull."""
        del generator
        assert self.users is not None
        delta = self.delta(step.features, step.chosen, step.rejected)
        weight = self.users[step.user].softmax(-1)
        loss = step.mean(bradley_terry_loss((weight[:, None] * delta).sum(-1)))
        if self.settings.pull > 0:
            cosine = F.cosine_similarity(self.head.weight, self._reference[None], dim=-1)
            loss = loss + self.settings.pull * (1 - cosine).mean()
        return loss

    def finish(self, pairs: PairBatch) -> None:
        """Keep the mean of the seen users' weights; forget theirs."""
        del pairs
        assert self.users is not None
        self.population = self.users.detach().softmax(-1).mean(0)
        self.users = None

    @torch.no_grad()
    def posterior(self, evidence: Evidence) -> UserPosterior:
        """The likeliest weights, (U, K); a point."""
        weight = likeliest_weights(evidence, self.population, _linear_margins)
        return UserPosterior(weight, None, evidence.counts)

    def weights(self, posterior: UserPosterior) -> WeightDistribution:
        """The convex weights, without uncertainty."""
        return WeightDistribution(posterior.mean, None)


def _linear_margins(answers: Evidence, weight: Tensor) -> tuple[Tensor, Tensor]:
    """w . delta and its derivative delta."""
    return (weight[answers.user] * answers.rows).sum(-1), answers.rows
