"""Rows of evidence as (users, answers, E) tensors, in chunks of users with a like number."""

from __future__ import annotations

import torch
from torch import Tensor

from palate.types import Evidence

#: Most entries of (users, answers, answers) in a chunk.
ENTRIES = 4_000_000


def chunks(counts: Tensor, entries: int = ENTRIES, least: int = 1) -> list[Tensor]:
    """Users (u,) with a like number of answers (within twice), in chunks; none without answers.

    Each takes the square of the answers' number of `entries`, or that of `least` where it is more.
    """
    present = torch.nonzero(counts)[:, 0]
    size = 2 ** counts[present].double().log2().ceil().long()
    found: list[Tensor] = []
    for most in torch.unique(size).tolist():
        found += torch.split(present[size == most], max(entries // max(most, least) ** 2, 1))
    return found


def padded(evidence: Evidence, users: Tensor) -> tuple[Tensor, Tensor]:
    """Rows (u, n, E) of some users and their weights (u, n), both zero past a user's last."""
    counts = evidence.counts[users]
    slot = torch.arange(int(counts.max()))
    present = slot < counts[:, None]
    row = (evidence.offsets[users][:, None] + slot).clamp_max(len(evidence.rows) - 1)
    weight = present.to(evidence.rows.dtype)
    if evidence.weight is not None:
        weight = weight * evidence.weight[row]
    return evidence.rows[row] * present[..., None], weight
