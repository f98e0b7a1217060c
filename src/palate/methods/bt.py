"""Bradley-Terry: one reward for everybody, the baseline that personalisation has to beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from palate.maths import bradley_terry_loss
from palate.methods.base import Step
from palate.methods.layers import draw_linear, linear
from palate.methods.settings import MethodSettings, TrainingSettings
from palate.methods.shared_reward import SharedReward
from palate.types import PairBatch


@dataclass(frozen=True)
class BTSettings(TrainingSettings):
    """Settings of `bt`: those of training alone."""


class BT(SharedReward):
    """P(y+ > y- | x) = sigmoid(r(x, y+) - r(x, y-)) with one linear reward; VRF (1) and (2)."""

    name = "bt"
    paper = "Bradley and Terry (1952)"
    settings_class: ClassVar[type[MethodSettings]] = BTSettings

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
        return step.mean(bradley_terry_loss(margin[..., 0]))

    def basis_rewards(self, features: Tensor) -> Tensor:
        """R: features (..., D) -> rewards (..., 1)."""
        rewards: Tensor = self.head(self.differences(features, self.centre))
        return rewards * self.temperature
