"""What every method's settings share, and those of the training loop."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Self

from palate.errors import SettingsError

#: Weight decays to choose from where the settings leave it open.
WEIGHT_DECAYS = (8.0, 2.0, 32.0)
#: Largest size of a layer or a batch; more is a slip of the keyboard.
MOST = 100_000
#: Steps where the settings leave them open, and how often a user is drawn at least.
DEFAULT_STEPS = 600
LEAST_DRAWS_OF_A_USER = 5


@dataclass(frozen=True)
class MethodSettings:
    """A method's settings: frozen, checked at birth, with what may be left open."""

    def candidates(self) -> list[Self]:
        """Settings with nothing left open, to choose from on validation; the default first."""
        return [self]

    def by_gradient(self) -> Self:
        """The same with an estimation that a backbone can be trained under."""
        return self

    @classmethod
    def search_space(cls) -> dict[str, tuple[Any, ...]]:
        """Values to tune over by name; the first of each is the default."""
        return {}

    @property
    def reads_prompts(self) -> bool:
        """Whether the method needs the hidden states of prompts by themselves."""
        return False

    def require_size(self, name: str, most: int = MOST) -> None:
        """Raise `SettingsError` where a count is below one or would fill any memory."""
        self.require(1 <= getattr(self, name) <= most, name, f"1 to {most:,}")

    def require_one_of(self, name: str, *known: str | None) -> None:
        """Raise `SettingsError` where a choice is not known."""
        self.require(getattr(self, name) in known, name, f"one of {', '.join(map(str, known))}")

    def require(self, holds: bool, name: str, expected: str) -> None:
        """Raise `SettingsError` where a setting is out of its range."""
        value = getattr(self, name)
        if not holds or (isinstance(value, float) and not math.isfinite(value)):
            raise SettingsError(f"setting {name} is {value!r}; expected {expected}")


@dataclass(frozen=True)
class TrainingSettings(MethodSettings):
    """What the one training loop needs; settings of trained methods extend these.

    steps: None takes 600, or as many as draw every user 5 times.
    users_per_step: users in a step's batch.
    comparisons_per_user: most comparisons of each of them.
    learning_rate: AdamW's, at its highest.
    weight_decay: AdamW's, of the features' projections; None chooses one on validation
    comparisons (strong ones win, since features are many and users few).
    warmup: steps before the cosine schedule.
    """

    steps: int | None = None
    users_per_step: int = 32
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

    def number_of_steps(self, users: int) -> int:
        """What the settings say, or enough that each user is drawn several times."""
        if self.steps is not None:
            return self.steps
        return max(DEFAULT_STEPS, math.ceil(LEAST_DRAWS_OF_A_USER * users / self.users_per_step))

    def candidates(self) -> list[Self]:
        """One for each weight decay where it is left open."""
        if self.weight_decay is not None:
            return [self]
        return [replace(self, weight_decay=decay) for decay in WEIGHT_DECAYS]

    @classmethod
    def search_space(cls) -> dict[str, tuple[Any, ...]]:
        """Learning rate and weight decay."""
        return {"learning_rate": (3e-3, 1e-3, 1e-2), "weight_decay": (8.0, 2.0, 32.0)}
