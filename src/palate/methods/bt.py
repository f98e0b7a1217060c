"""Bradley-Terry: one reward for everybody, the baseline that personalisation has to beat."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from palate.maths import bradley_terry_loss
from palate.methods.base import Method, Step, TrainingSettings, draw_linear, linear
from palate.types import PairBatch, UserPosterior, WeightDistribution


@dataclass(frozen=True)
class BTSettings(TrainingSettings):
    """Settings of `bt`: those of training alone."""


class BT(Method):
    """P(y+ > y- | x) = sigmoid(r(x, y+) - r(x, y-)) with one linear reward; VRF (1) and (2).

    K = 1. A user's posterior is a weight of one that no answer moves, known without uncertainty
    because the method has none: `gives_uncertainty` is False and no variance is reported.
    """

    name = "bt"
    paper = "Bradley and Terry (1952)"
    personal = False
    gives_uncertainty = False
    settings_class: ClassVar[type[TrainingSettings]] = BTSettings

    def __init__(self, settings: BTSettings, width: int) -> None:
        super().__init__(settings, width)
        self.head = linear(width, 1, bias=False)

    def initialise(self, pairs: PairBatch, generator: torch.Generator) -> None:
        """Start near zero."""
        del pairs
        draw_linear(self.head, generator, gain=0.1)

    def feature_layers(self) -> list[nn.Linear]:
        """The head."""
        return [self.head]

    def loss(self, step: Step, generator: torch.Generator) -> Tensor:
        """Weighted mean of -log sigmoid(margin)."""
        del generator
        features = step.features
        margin = self.head(self.differences(features[step.chosen], features[step.rejected]))
        return (bradley_terry_loss(margin[..., 0]) * step.weight).sum() / step.weight.sum()

    def basis_rewards(self, features: Tensor) -> Tensor:
        """R: features (..., D) -> rewards (..., 1)."""
        rewards: Tensor = self.head(self.differences(features, self.centre))
        return rewards * self.temperature

    def infer(self, pairs: PairBatch) -> UserPosterior:
        """The same for everybody; the answers are counted."""
        return UserPosterior(torch.ones(pairs.users, 1), None, pairs.counts)

    def update(self, posterior: UserPosterior, pairs: PairBatch) -> UserPosterior:
        """Answers are counted and change nothing."""
        return replace(posterior, answers=posterior.answers + pairs.counts)

    def weights(self, posterior: UserPosterior) -> WeightDistribution:
        """One, for everybody."""
        return WeightDistribution(posterior.mean, None)
