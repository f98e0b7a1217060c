"""Ref: the pretrained model's own likelihood as the reward, with nothing learned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from palate.errors import CannotRunError
from palate.methods.settings import MethodSettings
from palate.methods.shared_reward import SharedReward
from palate.types import PairBatch


@dataclass(frozen=True)
class RefSettings(MethodSettings):
    """Settings of `ref`: there are none."""


class Ref(SharedReward):
    """r(x, y) = log p(y | x) / |y|, the mean log-probability of the response's tokens; VRF A.2.

    Its features are those log-probabilities, (N, 1). A sentence encoder has none.
    """

    name = "ref"
    paper = "the pretrained model itself (VRF, appendix A.2)"
    reads = "likelihood"
    settings_class: ClassVar[type[MethodSettings]] = RefSettings

    def __init__(self, settings: RefSettings, width: int) -> None:
        if width != 1:
            raise CannotRunError(
                f"ref scores by log-likelihoods (N, 1), not by hidden states of width {width}: "
                "name a causal language model as the backbone"
            )
        super().__init__(settings, width)

    @property
    def trainable(self) -> bool:
        """Nothing is learned."""
        return False

    def initialise(self, pairs: PairBatch, generator: torch.Generator) -> None:
        """There is no parameter."""

    def basis_rewards(self, features: Tensor) -> Tensor:
        """R: log-likelihoods (..., 1), centred -> rewards (..., 1)."""
        return self.differences(features, self.centre) * self.temperature
