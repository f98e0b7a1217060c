"""The contract of every method: fit, infer what is known of users, reward."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from palate.errors import SettingsError
from palate.types import PairBatch, RewardDistribution, UserPosterior, WeightDistribution

#: Weight decays to choose from where the settings leave it open.
WEIGHT_DECAYS = (8.0, 2.0, 32.0)
#: Largest size of a layer or a batch; more is a slip of the keyboard.
MOST = 100_000


@dataclass(frozen=True)
class TrainingSettings:
    """What the one training loop needs; a method's own settings extend these.

    steps: None takes 600, or as many as draw every user 5 times. users_per_step and
    comparisons_per_user bound a step's batch. AdamW with a cosine schedule after `warmup` steps.
    weight_decay: AdamW's, of the features' projections; None chooses one on validation
    comparisons (strong ones win, since features are many and users few).
    """

    steps: int | None = None
    users_per_step: int = 64
    comparisons_per_user: int = 36
    learning_rate: float = 3e-3
    weight_decay: float | None = None
    warmup: int = 50

    def __post_init__(self) -> None:
        for name in ("users_per_step", "comparisons_per_user"):
            self.require_size(name)
        self.require(self.learning_rate > 0, "learning_rate", "greater than 0")
        if self.steps is not None:
            self.require_size("steps", 10_000_000)
        self.require(
            self.weight_decay is None or self.weight_decay >= 0, "weight_decay", "0 or more"
        )
        self.require(self.warmup >= 0, "warmup", "0 or more")

    def candidates(self) -> list[Self]:
        """Settings with nothing left open, to choose from on validation; the default first."""
        if self.weight_decay is not None:
            return [self]
        return [replace(self, weight_decay=decay) for decay in WEIGHT_DECAYS]

    def require_size(self, name: str, most: int = MOST) -> None:
        """Raise `SettingsError` where a count is below one or would fill any memory."""
        self.require(1 <= getattr(self, name) <= most, name, f"1 to {most:,}")

    def require(self, holds: bool, name: str, expected: str) -> None:
        """Raise `SettingsError` where a setting is out of its range."""
        value = getattr(self, name)
        if not holds or (isinstance(value, float) and not math.isfinite(value)):
            raise SettingsError(f"setting {name} is {value!r}; expected {expected}")


@dataclass(frozen=True, eq=False)
class Step:
    """A training step's comparisons: b users with up to m of theirs each, in random order.

    chosen, rejected: (b, m) rows of features (N, D). weight: (b, m), zero where there is none.
    """

    features: Tensor
    chosen: Tensor
    rejected: Tensor
    weight: Tensor


@dataclass(frozen=True, eq=False)
class Margins:
    """Reward of chosen minus rejected: mean (B,) and variance (B,), None if not measured."""

    mean: Tensor
    variance: Tensor | None

    @property
    def logit(self) -> Tensor:
        """(B,) log-odds that chosen is preferred, the user's uncertainty taken in; VRF (8)."""
        from palate.maths import mackay_margin

        return mackay_margin(self.mean, self.variance)


class Method(nn.Module, ABC):
    """A personalised reward model over features (N, D): r_u = w_u . R, w_u a distribution.

    Every function works on U users at once. What a method cannot do it declares in class
    attributes: `personal` (users differ) and `gives_uncertainty`. Two buffers are set by
    calibration: `temperature`, a factor on the rewards, and `spread`, on the weights' covariance.
    """

    name: ClassVar[str]
    paper: ClassVar[str]
    personal: ClassVar[bool]
    gives_uncertainty: ClassVar[bool]
    settings_class: ClassVar[type[TrainingSettings]]

    def __init__(self, settings: TrainingSettings, width: int) -> None:
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

    @property
    def trainable(self) -> bool:
        """Whether the training loop has anything to do after `initialise`."""
        return True

    def standardise(self, pairs: PairBatch) -> None:
        """Learn centre and scales of the training features: of texts, and of their differences."""
        rows = torch.unique(torch.cat([pairs.chosen, pairs.rejected]))
        used = pairs.features[rows]
        difference = pairs.features[pairs.chosen] - pairs.features[pairs.rejected]
        self.centre = used.mean(0)
        spread = torch.stack([used.sub(self.centre).square().mean(), difference.square().mean()])
        self.scale = spread.clamp_min(1e-12).rsqrt()

    def differences(self, chosen: Tensor, rejected: Tensor) -> Tensor:
        """Standardised differences of hidden states (..., D)."""
        return (chosen - rejected) * self.scale[1]

    @abstractmethod
    def initialise(self, pairs: PairBatch, generator: torch.Generator) -> None:
        """Start the parameters, from the generator and from the training comparisons."""

    @abstractmethod
    def feature_layers(self) -> list[nn.Linear]:
        """The layers that read features; the width of these decides how fast they may move."""

    @abstractmethod
    def loss(self, step: Step, generator: torch.Generator) -> Tensor:
        """The training loss of a step, a scalar."""

    @abstractmethod
    def basis_rewards(self, features: Tensor) -> Tensor:
        """R: features (..., D) -> rewards (..., K)."""

    @abstractmethod
    def infer(self, pairs: PairBatch) -> UserPosterior:
        """What the comparisons say of each of U users; the population's where there are none."""

    @abstractmethod
    def update(self, posterior: UserPosterior, pairs: PairBatch) -> UserPosterior:
        """Further comparisons of the same users; equals inferring from all of them at once."""

    @abstractmethod
    def weights(self, posterior: UserPosterior) -> WeightDistribution:
        """Users' weights over the bases."""

    def diagnostics(self, posterior: UserPosterior) -> dict[str, Any]:
        """What to watch in the trained users' weights; empty where nothing can go wrong."""
        del posterior
        return {}

    @torch.no_grad()
    def reward(self, posterior: UserPosterior, features: Tensor) -> RewardDistribution:
        """One user's rewards of n responses (n, D), jointly Gaussian by their moments; VRF (7)."""
        if len(posterior) != 1:
            raise ValueError(f"rewards are of one user, not of {len(posterior)}")
        weights = self.weights(posterior)
        rewards = self.basis_rewards(features)
        factor = None
        if weights.covariance is not None:
            factor = rewards @ _square_root(weights.covariance[0])
        return RewardDistribution(rewards @ weights.mean[0], factor)

    @torch.no_grad()
    def margins(self, posterior: UserPosterior, pairs: PairBatch) -> Margins:
        """Reward margins of comparisons for the users whose posteriors are given, in order."""
        weights = self.weights(posterior)
        rewards = self.basis_rewards(pairs.features)
        delta = rewards[pairs.chosen] - rewards[pairs.rejected]
        user = pairs.user
        mean = (weights.mean[user] * delta).sum(-1)
        if weights.covariance is None:
            return Margins(mean, None)
        covered = torch.einsum("bk,bkl->bl", delta, weights.covariance[user])
        return Margins(mean, (covered * delta).sum(-1).clamp_min(0))


def _square_root(covariance: Tensor) -> Tensor:
    """S (K, K) with S S^T = covariance, which may be singular."""
    values, vectors = torch.linalg.eigh(covariance)
    root: Tensor = vectors * values.clamp_min(0).sqrt()
    return root


def linear(inputs: int, outputs: int, *, bias: bool = True) -> nn.Linear:
    """A linear layer whose parameters `draw_linear` fills: nothing draws from a global stream."""
    layer = nn.utils.skip_init(nn.Linear, inputs, outputs, bias=bias)  # type: ignore[no-untyped-call]
    assert isinstance(layer, nn.Linear)
    return layer


def draw_linear(layer: nn.Linear, generator: torch.Generator, gain: float = 1.0) -> None:
    """Uniform start within gain / sqrt(inputs), as PyTorch's own layers; biases as well."""
    bound = gain / math.sqrt(layer.in_features)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.uniform_(-bound, bound, generator=generator)


def dropout(values: Tensor, rate: float, generator: torch.Generator) -> Tensor:
    """Inverted dropout from a passed generator."""
    if rate == 0:
        return values
    kept = torch.rand(values.shape, generator=generator, device=values.device) >= rate
    return values * kept / (1 - rate)
