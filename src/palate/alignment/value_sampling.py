"""Value-augmented sampling: the policy's next token, moved by what a user's values say of it.

Among the policy's top m tokens, a is drawn in proportion to pi(a | s) exp(sum_k w_k Q_k(s, a) / t).
The policy stays frozen and nothing is trained per user: a user is the weights w alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from palate.adaptation.profile import UserProfile
from palate.alignment.local import LocalPolicy
from palate.alignment.policy import Request, Sampled
from palate.alignment.values import ValueHeads
from palate.errors import CannotRunError, DataError, SettingsError
from palate.progress import Progress
from palate.questions.direction import direction
from palate.questions.moments import square_root
from palate.types import WeightDistribution


@dataclass(frozen=True)
class SteeringSettings:
    """How far values move the policy.

    temperature  t: rewards of that size count as much as one nat of the policy's own opinion
    top          m: how many of the policy's likeliest tokens may be drawn
    """

    temperature: float = 0.25
    top: int = 40

    def __post_init__(self) -> None:
        if not 0 < self.temperature < math.inf:
            raise SettingsError(f"setting temperature is {self.temperature}; expected above 0")
        if self.top < 1:
            raise SettingsError(f"setting top is {self.top}; expected 1 or more")


class Steering:
    """A `Guide` by values: the weights (R, K) of each request's user."""

    def __init__(
        self, heads: ValueHeads, weights: Tensor, settings: SteeringSettings | None = None
    ) -> None:
        if weights.ndim != 2 or weights.shape[1] != heads.shape.bases:
            raise DataError(
                f"weights are {tuple(weights.shape)}; expected (requests, {heads.shape.bases})"
            )
        if not bool(weights.isfinite().all()):
            raise DataError("weights hold numbers that are not finite")
        self.heads = heads
        self.weights = weights.float()
        self.settings = settings or SteeringSettings()
        self._keys: Tensor | None = None

    @contextmanager
    def over(self, model: Any, rows: Tensor) -> Iterator[Any]:  # noqa: ANN401
        """A `LogitsProcessor` over a batch whose rows (n,) are places in the list of requests."""
        from transformers import LogitsProcessor

        weights = self.weights[rows].to(model.device)
        heads = self.heads.to(model.device)
        settings = self.settings
        if self._keys is None:
            with torch.inference_mode():
                self._keys = heads.keys(model.get_input_embeddings().weight)
        keys = self._keys.to(model.device)
        with last_states(model) as seen:

            class Moved(LogitsProcessor):
                """Scores of the top tokens with their values added; all others are ruled out."""

                def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
                    return steer(scores, seen[-1], heads, weights, keys, settings)

            yield Moved()


def steer(
    scores: Tensor,
    hidden: Tensor,
    heads: ValueHeads,
    weights: Tensor,
    keys: Tensor,
    settings: SteeringSettings,
) -> Tensor:
    """Scores (n, V) of next tokens after states (n, D), for users' weights (n, K); keys (V, rank).

    V_k(s) is the same for all tokens, so that the advantage alone is added.
    """
    top = scores.topk(min(settings.top, scores.shape[-1]), dim=-1)
    moved = heads.advantages(hidden, weights, keys[top.indices]) / settings.temperature
    ruled = torch.full_like(scores, -torch.inf)
    return ruled.scatter_(1, top.indices, top.values + moved.to(scores.dtype))


@contextmanager
def last_states(model: Any) -> Iterator[list[Tensor]]:  # noqa: ANN401
    """A list whose last entry is the state (n, D) that the model's next tokens are read from."""
    seen: list[Tensor] = []

    def keep(_: Any, inputs: tuple[Tensor, ...]) -> None:  # noqa: ANN401
        seen[:] = [inputs[0][:, -1]]

    hook = model.get_output_embeddings().register_forward_pre_hook(keep)
    try:
        yield seen
    finally:
        hook.remove()


def sample_for(
    policy: LocalPolicy,
    heads: ValueHeads,
    requests: Sequence[Request],
    users: Sequence[UserProfile] | UserProfile,
    settings: SteeringSettings | None = None,
    progress: Progress | None = None,
) -> list[Sampled]:
    """Answers to requests, each for its own user or all for one.

    Raises `CannotRunError` for a user of a method without weights over bases.
    """
    owners = [users] * len(requests) if isinstance(users, UserProfile) else list(users)
    if len(owners) != len(requests):
        raise DataError(f"{len(owners)} users for {len(requests)} requests; give one for each")
    weights = torch.cat([weights_of(user).mean for user in owners])
    return policy.sample_many(requests, Steering(heads, weights, settings), progress)


def sample_pair(
    policy: LocalPolicy,
    heads: ValueHeads,
    request: Request,
    user: UserProfile,
    settings: SteeringSettings | None = None,
) -> tuple[str, str]:
    """Two answers for a question to a user, written in the direction that is least known.

    One towards +v/2 and one towards -v/2, where v is `questions.direction` within the reach of the
    policy's own answers; the first is the one that the user is expected to prefer. Raises
    `CannotRunError` for a user without uncertainty, `DataError` where the two answers are one.
    """
    targets = direction(weights_of(user), reach=heads.reach)
    # the rewards that grow towards +v and -v: 1 apart are answers of a usual difference
    root = square_root(heads.reach.double())
    toward = (torch.linalg.pinv(root @ root.T, hermitian=True) @ targets.double().T).T * 2
    # the same random numbers on either side, so that what differs is the direction
    sides = [replace(request, count=1)] * 2
    first, second = policy.sample_many(sides, Steering(heads, toward.float(), settings))
    if first.texts[0].strip() == second.texts[0].strip():
        raise DataError(
            "both directions gave one answer: lower the temperature of the values, or ask another "
            "prompt"
        )
    return first.texts[0], second.texts[0]


def weights_of(user: UserProfile) -> WeightDistribution:
    """The user's weights over the bases; raises `CannotRunError` for a method without."""
    if user.weights is None:
        raise CannotRunError(f"{user.method} has no weights over bases, which values need")
    return user.weights
