"""Old answers count less: tastes drift, and a half-life says how fast."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from palate.adaptation.record import Answer
from palate.errors import PosteriorError, SettingsError

#: An answer older than so many half-lives counts nothing.
MOST_HALF_LIVES = 30.0


@dataclass(frozen=True)
class Ageing:
    """An answer counts 2^(-age / half_life) at the time `now`; both in seconds, UTC since 1970.

    An answer from after `now` counts whole. Raises `SettingsError` for a half-life that is none.
    """

    half_life: float
    now: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.half_life) and self.half_life > 0):
            raise SettingsError(f"the half-life is {self.half_life}; expected a time above zero")
        if not math.isfinite(self.now):
            raise SettingsError(f"the time now is {self.now}; expected seconds since 1970")

    def weights(self, answers: Sequence[Answer]) -> Tensor:
        """(n,) what answers count; raises `PosteriorError` where a time is not known."""
        untimed = sum(answer.time is None for answer in answers)
        if untimed:
            raise PosteriorError(
                f"{untimed} of {len(answers)} answers have no time, so nobody knows how old they "
                "are: give every answer a timestamp, or do without a half-life"
            )
        times = torch.tensor([answer.time for answer in answers], dtype=torch.double)
        lives = (self.now - times).clamp_min(0) / self.half_life
        return torch.exp2(-lives).where(lives <= MOST_HALF_LIVES, 0.0).float()

    def until(self, answers: Sequence[Answer]) -> Ageing:
        """The same half-life at the time of the newest answer, where that is later."""
        times = [answer.time for answer in answers if answer.time is not None]
        return replace(self, now=max([self.now, *times]))


def together(one: Ageing | None, other: Ageing | None) -> Ageing | None:
    """How the answers of two profiles age: as those of the one that does, or of both.

    Raises `PosteriorError` where they age by different half-lives.
    """
    if one is None or other is None:
        return one or other
    if one.half_life != other.half_life:
        raise PosteriorError(
            "the two profiles age by different half-lives: age both alike, then combine them"
        )
    return replace(one, now=max(one.now, other.now))
