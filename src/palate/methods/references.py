"""A step's comparisons divided: references that a user is inferred from, targets of the loss."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from palate.methods.base import Step


@dataclass(frozen=True, eq=False)
class Division:
    """b users' comparisons, m each: the first `width` columns hold all references.

    count: (b,) references of each user. is_reference: (b, m). target: (b, m) weights of the
    targets, zero where a comparison is none.
    """

    width: int
    count: Tensor
    is_reference: Tensor
    target: Tensor

    def mean(self, losses: Tensor) -> Tensor:
        """The weighted mean of losses (b, m) over the targets."""
        return (losses * self.target).sum() / self.target.sum().clamp_min(1e-9)


def divide(step: Step, least: int, most: int, generator: torch.Generator) -> Division:
    """Draw the number of references anew, from `least` to `most`, at most half of a user's, or at
    most as many as the step sets apart.

    A comparison that stands among its user's references, either way round, is no target.
    """
    place = torch.arange(step.chosen.shape[1])
    if step.references:
        available = (step.weight[:, : step.references] > 0).sum(-1)
        most = max(min(most, step.references), least)
    else:
        available = (step.weight > 0).sum(-1) // 2  # of one comparison half is none
        most = max(min(most, len(place) - 1), least)
    drawn = torch.randint(least, most + 1, (), generator=generator)
    count = torch.minimum(drawn, available)
    width = int(count.max())
    is_reference = place < count[:, None]
    target = step.weight * ~is_reference * ~_repeats(step, is_reference, width)
    target = target * (place >= step.references)
    return Division(width, count, is_reference, target)


def _repeats(step: Step, is_reference: Tensor, width: int) -> Tensor:
    """(b, m) comparisons that stand among their own user's references again, either way round."""
    low = torch.minimum(step.chosen, step.rejected)
    high = torch.maximum(step.chosen, step.rejected)
    same = (low[:, :, None] == low[:, None, :width]) & (high[:, :, None] == high[:, None, :width])
    return (same & is_reference[:, None, :width]).any(-1)
