"""The contract of every method: fit, infer what is known of users, reward."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from palate.maths import mackay_margin
from palate.methods.settings import MethodSettings
from palate.methods.updating import Refit, Updater
from palate.types import (
    Evidence,
    PairBatch,
    RewardDistribution,
    UserPosterior,
    WeightDistribution,
)

#: Hidden states of a backbone that is trained, those of before, or some of each.
InfersFrom = Literal["live", "reference", "both"]


@dataclass(frozen=True, eq=False)
class Step:
    """A training step's comparisons: b users with up to m of theirs each, in random order.

    chosen, rejected: (b, m) rows of features (N, D). weight: (b, m), zero where there is none.
    user: (b,) the users' numbers in the training comparisons. prompt: (b, m) rows of the prompts
    by themselves, or None. references: so many first columns only tell who the user is, and the
    others are targets of the loss; 0 leaves the division to the method.
    """

    features: Tensor
    chosen: Tensor
    rejected: Tensor
    weight: Tensor
    user: Tensor
    prompt: Tensor | None = None
    references: int = 0

    def mean(self, losses: Tensor) -> Tensor:
        """The weighted mean of losses (b, m) over the comparisons."""
        return (losses * self.weight).sum() / self.weight.sum()


@dataclass(frozen=True, eq=False)
class Margins:
    """Reward of chosen minus rejected: mean (B,) and variance (B,), None if not measured."""

    mean: Tensor
    variance: Tensor | None

    @property
    def logit(self) -> Tensor:
        """(B,) log-odds that chosen is preferred, the user's uncertainty taken in; VRF (8)."""
        return mackay_margin(self.mean, self.variance)


class Method(nn.Module, ABC):
    """A personalised reward model over features (N, D).

    Every function works on U users at once. What a method cannot do it declares in class
    attributes: `personal` (users differ), `gives_uncertainty`, `reads`, what its features are, and
    `infers_from`, which of them tell users apart while a backbone is trained: a network's are those
    of before, so that it does not have to follow.
    Two buffers are set by calibration: `temperature`, a factor on the rewards, and `spread`, on
    the covariance of what is not known of a user.

    While a backbone is trained, features are (N, 2 D): what it says now, and what it said before
    training, from which users are inferred (`live` and `reference`). Of (N, D) both are the same.

    A user is inferred in two steps: `evidence` reads answers one by one, `posterior` joins a
    user's rows. Whoever keeps the rows can add, drop and repeat answers without the texts.
    """

    name: ClassVar[str]
    paper: ClassVar[str]
    personal: ClassVar[bool]
    gives_uncertainty: ClassVar[bool]
    reads: ClassVar[Literal["hidden states", "likelihood"]] = "hidden states"
    infers_from: ClassVar[InfersFrom] = "live"
    settings_class: ClassVar[type[MethodSettings]]

    def __init__(self, settings: MethodSettings, width: int) -> None:
        super().__init__()
        self.settings = settings
        self.width = width
        self.register_buffer("centre", torch.zeros(width))
        self.register_buffer("scale", torch.ones(2))
        self.register_buffer("temperature", torch.ones(()))
        self.register_buffer("spread", torch.ones(()))

    centre: Tensor
    scale: Tensor
    temperature: Tensor
    spread: Tensor

    # -- fit ----------------------------------------------------------------------------------

    @property
    def trainable(self) -> bool:
        """Whether the training loop has anything to do after `initialise`."""
        return True

    def standardise(self, pairs: PairBatch) -> None:
        """Learn centre and scales of the training features: of texts, and of their differences."""
        rows = torch.unique(torch.cat([pairs.chosen, pairs.rejected]))
        used = self.live(pairs.features)[rows]
        difference = self.live(pairs.features[pairs.chosen] - pairs.features[pairs.rejected])
        self.centre = used.mean(0)
        spread = torch.stack([used.sub(self.centre).square().mean(), difference.square().mean()])
        self.scale = spread.clamp_min(1e-12).rsqrt()

    def live(self, features: Tensor) -> Tensor:
        """(..., D) what rewards are computed from."""
        return features[..., : self.width]

    def reference(self, features: Tensor) -> Tensor:
        """(..., D) what users are inferred from; no gradient reaches a backbone through it."""
        return features[..., -self.width :].detach()

    def differences(self, chosen: Tensor, rejected: Tensor) -> Tensor:
        """Standardised differences of hidden states (..., D)."""
        return (self.live(chosen) - self.live(rejected)).mul_(self.scale[1])

    def texts(self, features: Tensor) -> Tensor:
        """Standardised hidden states (..., D)."""
        return (self.live(features) - self.centre).mul_(self.scale[0])

    @abstractmethod
    def initialise(self, pairs: PairBatch, generator: torch.Generator) -> None:
        """Start the parameters, from the generator and from the training comparisons."""

    def feature_layers(self) -> list[nn.Linear]:
        """The layers that read features; the width of these decides how fast they may move."""
        return []

    def loss(self, step: Step, generator: torch.Generator) -> Tensor:
        """The training loss of a step, a scalar."""
        raise NotImplementedError(f"{self.name} is not trained by gradients")

    def finish(self, pairs: PairBatch) -> None:
        """What is left to do after the last step, on the training comparisons."""
        del pairs

    # -- users --------------------------------------------------------------------------------

    @abstractmethod
    def evidence(self, pairs: PairBatch) -> Tensor:
        """What each comparison says of its user: (B, E)."""

    @abstractmethod
    def posterior(self, evidence: Evidence) -> UserPosterior:
        """What is known of U users from their answers; the population where there are none."""

    def updater(self) -> Updater:
        """How one user's posterior is kept up to date, answer by answer."""
        return Refit(self.posterior)

    @torch.no_grad()
    def infer(self, pairs: PairBatch) -> UserPosterior:
        """What comparisons say of each of U users."""
        return self.posterior(Evidence(self.evidence(pairs), pairs.offsets))

    # -- rewards ------------------------------------------------------------------------------

    def weights(self, posterior: UserPosterior) -> WeightDistribution | None:
        """Users' weights over the bases (or prototypes); None for a method that has none."""
        del posterior
        return None

    @abstractmethod
    def reward(
        self, posterior: UserPosterior, features: Tensor, prompt: Tensor | None = None
    ) -> RewardDistribution:
        """One user's rewards of n responses (n, D); prompt (D,) for a method that reads it."""

    @abstractmethod
    def margins(self, posterior: UserPosterior, pairs: PairBatch) -> Margins:
        """Reward margins of comparisons for the users whose posteriors are given, in order."""

    def diagnostics(self, posterior: UserPosterior) -> dict[str, Any]:
        """What to watch in the trained users' weights; empty where nothing can go wrong."""
        del posterior
        return {}

    @staticmethod
    def require_one(posterior: UserPosterior) -> None:
        """Raise `ValueError` unless the posterior is of one user."""
        if len(posterior) != 1:
            raise ValueError(f"rewards are of one user, not of {len(posterior)}")
