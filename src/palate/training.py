"""The one training loop: steps over users."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from palate.errors import PalateError
from palate.methods.base import Method, Step
from palate.methods.settings import MethodSettings, TrainingSettings
from palate.progress import Progress, Silent
from palate.types import PairBatch

#: Width of the features for which learning rates are given.
REFERENCE_WIDTH = 384


class DivergedError(PalateError):
    """The training loss is no longer a number."""


@dataclass(frozen=True)
class Fitted:
    """A trained method, and its mean loss over each tenth of training."""

    method: Method
    losses: tuple[float, ...]


def fit(
    method_class: type[Method],
    settings: MethodSettings,
    pairs: PairBatch,
    *,
    seed: int,
    progress: Progress | None = None,
) -> Fitted:
    """Train a method on comparisons; one seed gives the same bytes.

    What the settings leave open is taken from the first of their candidates.
    """
    with one_thread():
        method, losses = descend(method_class, settings, pairs, seed, progress or Silent())
        finish(method, pairs)
    tenths = tuple(float(part.mean()) for part in losses.tensor_split(10) if len(part))
    return Fitted(method, tenths)


def finish(method: Method, pairs: PairBatch) -> None:
    """What follows the last step: the method is ready for use."""
    method.finish(pairs)
    method.eval().requires_grad_(False)


def descend(
    method_class: type[Method],
    settings: MethodSettings,
    pairs: PairBatch,
    seed: int,
    progress: Progress,
) -> tuple[Method, torch.Tensor]:
    """A method after its steps, which may go on from there, and the loss of each, (steps,)."""
    generator = torch.Generator().manual_seed(seed)
    settings = settings.candidates()[0]
    method = method_class(settings, pairs.features.shape[1])
    method.standardise(pairs)
    method.initialise(pairs, generator)
    losses = torch.zeros(0)
    if method.trainable and isinstance(settings, TrainingSettings):
        losses = _descend(method, settings, pairs, generator, progress)
    return method, losses


def _descend(
    method: Method,
    settings: TrainingSettings,
    pairs: PairBatch,
    generator: torch.Generator,
    progress: Progress,
) -> torch.Tensor:
    """Gradient steps; returns the loss of each, (steps,)."""
    steps = settings.number_of_steps(pairs.users)
    groups = parameter_groups(method, settings, pairs.users, settings.learning_rate)
    optimiser = torch.optim.AdamW(groups)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: learning_rate_share(step, steps, settings.warmup)
    )
    losses = torch.zeros(steps)
    method.train()
    with progress.track(f"training {method.name}", steps) as advance:
        for number in range(steps):
            loss = method.loss(draw_step(pairs, settings, generator), generator)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            losses[number] = loss.detach()
            if not math.isfinite(losses[number]):
                raise DivergedError(
                    f"the loss is {losses[number]} at step {number} of {steps}: lower learning_rate"
                )
            advance(1)
    return losses


def learning_rate_share(step: int, steps: int, warmup: int) -> float:
    """Linear warm-up, then a cosine to zero."""
    return min(1.0, (step + 1) / max(warmup, 1)) * 0.5 * (1 + math.cos(math.pi * step / steps))


def draw_step(pairs: PairBatch, settings: TrainingSettings, generator: torch.Generator) -> Step:
    """Some users, each once, with some of their comparisons, each once, in random order."""
    owners = torch.nonzero(pairs.counts > 0)[:, 0]
    drawn = torch.randperm(len(owners), generator=generator)[: settings.users_per_step]
    users = owners[drawn]
    counts = pairs.counts[users]
    slots = torch.arange(int(counts.max()))
    order = torch.rand(len(users), len(slots), generator=generator)
    order.masked_fill_(slots >= counts[:, None], 2.0)  # absent comparisons come last
    size = min(settings.comparisons_per_user, len(slots))
    keys, slot = order.topk(size, largest=False, sorted=True)
    row = pairs.offsets[users][:, None] + torch.where(keys < 2, slot, 0)
    weight = torch.ones(row.shape) if pairs.weight is None else pairs.weight[row]
    return Step(
        features=pairs.features,
        chosen=pairs.chosen[row],
        rejected=pairs.rejected[row],
        weight=weight * (keys < 2),
        user=users,
        prompt=None if pairs.prompt is None else pairs.prompt[row],
    )


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute in one thread: the sums' order, and so the bytes, then hang on no machine's cores.

    Steps are small; more threads gain little and lose much where another process is busy.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def parameter_groups(
    method: Method, settings: TrainingSettings, users: int, learning_rate: float
) -> list[dict[str, Any]]:
    """For AdamW; matrices decay, the bases and biases do not.

    The learning rate is one for features of REFERENCE_WIDTH: Adam moves every weight alike, so a
    matrix over more features moves its outputs more, and is slowed in proportion (the rule of
    maximal update parametrisation, Yang et al. 2022). Its decay per step stays the same. A table
    of users moves faster: a user's row is drawn in a few steps only.
    """
    decay = settings.weight_decay or 0.0
    slowed = method.width / REFERENCE_WIDTH
    reading = {id(layer.weight) for layer in method.feature_layers()}
    groups = []
    for name, parameter in method.named_parameters():
        slow = slowed if id(parameter) in reading else 1.0
        if name == "users":
            slow = min(1.0, settings.users_per_step / users)
        groups.append(
            {
                "params": [parameter],
                "lr": learning_rate / slow,
                "weight_decay": decay * slow if name.endswith(".weight") else 0.0,
            }
        )
    return groups
