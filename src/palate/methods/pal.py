"""PAL: users as mixtures of a few prototypes, in two geometries (Chen et al., 2025)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from palate.errors import CannotRunError
from palate.maths import bradley_terry_loss
from palate.methods.base import Margins, Method, Step
from palate.methods.prototypes import Angle, Asked, Geometry, IdealPoint
from palate.methods.settings import MethodSettings, TrainingSettings
from palate.methods.simplex import likeliest_weights
from palate.types import (
    Evidence,
    PairBatch,
    RewardDistribution,
    UserPosterior,
    WeightDistribution,
)


@dataclass(frozen=True)
class PALSettings(TrainingSettings):
    """Settings of `pal`.

    variant: "A" is the ideal point, "B" the angle to a point drawn from the prompt.
    prototypes: k, how many points users are mixtures of.
    hidden: width of the projections' hidden layer.
    dimensions: d of the preference space.
    """

    variant: Literal["A", "B"] = "A"
    prototypes: int = 2
    hidden: int = 64
    dimensions: int = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_one_of("variant", "A", "B")
        for name in ("prototypes", "hidden", "dimensions"):
            self.require_size(name)

    @property
    def reads_prompts(self) -> bool:
        """B does."""
        return self.variant == "B"

    @classmethod
    def search_space(cls) -> dict[str, tuple[Any, ...]]:
        """Those of training, and the number of prototypes."""
        return super().search_space() | {"prototypes": (2, 4, 8), "dimensions": (32, 8)}


class PAL(Method):
    """Softmax weights w_u over k prototypes; A: -|f(h) - f(P^T w_u)|, B: exp(s) cos(f(h), a_u(x)).

    Trained by the joint logistic likelihood of projections, prototypes and seen users' weights.
    An unseen user gets the likeliest weights with all else fixed.

    Deviations: the original's weights start at random and take Adam steps; here all users go by
    damped Newton steps from the seen users' mean, which a user without answers keeps. f reads
    the response with its prompt, as the backbone encodes them.
    """

    name = "pal"
    paper = "PAL: Sample-Efficient Personalized Reward Modeling (2025)"
    personal = True
    gives_uncertainty = False
    settings_class: ClassVar[type[MethodSettings]] = PALSettings
    settings: PALSettings

    def __init__(self, settings: PALSettings, width: int) -> None:
        super().__init__(settings, width)
        k = settings.prototypes
        kind = IdealPoint if settings.variant == "A" else Angle
        self.geometry: Geometry = kind(width, settings.hidden, settings.dimensions, k)
        self.register_buffer("population", torch.full((k,), 1 / k))
        self.register_parameter("users", None)

    population: Tensor
    users: nn.Parameter | None

    def initialise(self, pairs: PairBatch, generator: torch.Generator) -> None:
        """Geometry and the seen users' logits at random."""
        self.geometry.draw(generator)
        start = torch.randn(pairs.users, self.settings.prototypes, generator=generator)
        self.users = nn.Parameter(start)

    def feature_layers(self) -> list[nn.Linear]:
        """Those of the geometry."""
        return self.geometry.feature_layers()

    def loss(self, step: Step, generator: torch.Generator) -> Tensor:
        """Joint -log likelihood."""
        del generator
        assert self.users is not None
        rows = self._evidence(step.features, step.chosen, step.rejected, step.prompt)
        weight = self.users[step.user].softmax(-1)
        return step.mean(bradley_terry_loss(self.geometry.margins(rows, weight)))

    def finish(self, pairs: PairBatch) -> None:
        """Keep the mean of the seen users' weights; forget theirs."""
        del pairs
        assert self.users is not None
        self.population = self.users.detach().softmax(-1).mean(0)
        self.users = None

    def _evidence(
        self, features: Tensor, chosen: Tensor, rejected: Tensor, prompt: Tensor | None
    ) -> Tensor:
        asked = None
        if self.settings.reads_prompts:
            distinct, place = torch.unique(_known(prompt), return_inverse=True)
            asked = Asked(self.texts(features[distinct]), place)
        distinct, place = torch.unique(torch.stack([chosen, rejected]), return_inverse=True)
        toward, away = self.geometry.project(self.texts(features[distinct]))[place]
        return self.geometry.evidence(toward, away, asked)

    def evidence(self, pairs: PairBatch) -> Tensor:
        """What the geometry reads of comparisons, (B, E)."""
        return self._evidence(pairs.features, pairs.chosen, pairs.rejected, pairs.prompt)

    @torch.no_grad()
    def posterior(self, evidence: Evidence) -> UserPosterior:
        """The likeliest weights, (U, k); a point."""

        def margin_of(answers: Evidence, weight: Tensor) -> tuple[Tensor, Tensor]:
            return self.geometry.slopes(answers.rows, answers.user, weight)

        weight = likeliest_weights(evidence, self.population, margin_of)
        return UserPosterior(weight, None, evidence.counts)

    def weights(self, posterior: UserPosterior) -> WeightDistribution:
        """The weights over prototypes, without uncertainty."""
        return WeightDistribution(posterior.mean, None)

    @torch.no_grad()
    def reward(
        self, posterior: UserPosterior, features: Tensor, prompt: Tensor | None = None
    ) -> RewardDistribution:
        """One user's rewards of n responses to one prompt."""
        self.require_one(posterior)
        asked = None
        if self.settings.reads_prompts:
            asked = self.texts(_known(prompt)).expand_as(features)
        weight = posterior.mean.expand(len(features), -1)
        rewards = self.geometry.rewards(self.texts(features), asked, weight)
        return RewardDistribution(rewards * self.temperature, None)

    @torch.no_grad()
    def margins(self, posterior: UserPosterior, pairs: PairBatch) -> Margins:
        """Margins of comparisons for the users in order."""
        margin, _ = self.geometry.slopes(self.evidence(pairs), pairs.user, posterior.mean)
        return Margins(margin * self.temperature, None)


def _known(prompt: Tensor | None) -> Tensor:
    """The prompts; raises `CannotRunError` where there are none."""
    if prompt is None:
        raise CannotRunError(
            "pal's variant B needs the hidden states of prompts: give texts, or the prompts' own "
            "hidden states beside the responses'"
        )
    return prompt
