"""The toy world as a policy, its users, and a judge that knows their tastes."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from palate import PreferenceData
from palate.alignment.baselines import TestedUser
from palate.alignment.policy import Request, Sampled
from palate.data.benchmarks.role_play import RolePlay
from palate.errors import PolicyError
from palate.progress import Progress
from tests import toy as world


@dataclass
class ToyPolicy:
    """Answers with one of the toy world's responses to the prompt, as the seed draws."""

    name: str = "toy"
    mute: frozenset[str] = frozenset()
    asked: list[Request] = field(default_factory=list)

    def sample(self, request: Request) -> Sampled:
        self.asked.append(request)
        if request.prompt in self.mute:
            raise PolicyError("nothing to say")
        number = str(request.prompt).split()[-1]
        draw = random.Random(f"{request.seed} {request.system} {request.prompt}")
        texts = [
            f"response {draw.randrange(world.RESPONSES)} to {number}" for _ in range(request.count)
        ]
        return Sampled(tuple(texts), 1, request.count)


def prompts() -> list[str]:
    return [f"prompt {number}" for number in range(world.PROMPTS)]


def users(count: int = 6, each: int = 20, **known: Any) -> list[TestedUser]:
    """Users as `toy.rows` draws them; those of even number are in the one camp."""
    data = PreferenceData.load(world.rows(users=count, each=each, seed=3))
    return [
        TestedUser(name, tuple(data.select(np.flatnonzero(data.user == i))), **known)
        for i, name in enumerate(data.user_ids)
    ]


@dataclass
class CampJudge:
    """Prefers what the user's camp prefers, and remembers what it was asked."""

    name: str = "camp"
    silent: bool = False
    asked: list[RolePlay] = field(default_factory=list)

    def preferences(
        self, plays: Sequence[RolePlay], progress: Progress | None = None
    ) -> list[float | None]:
        self.asked += plays
        return [None if self.silent else self._one(play) for play in plays]

    def _one(self, play: RolePlay) -> float:
        sign = 1 if int(play.person.user_id.split()[-1]) % 2 else -1
        states = [world.hidden_state(play.prompt, t) for t in (play.response_a, play.response_b)]
        return float(sign * (states[0] - states[1]).sum() > 0)

    def report(self) -> dict[str, Any]:
        return {"asked": len(self.asked)}
