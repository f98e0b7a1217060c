"""What tests of methods are fed: several users' differences, and comparisons of random texts."""

from __future__ import annotations

import torch
from torch import Tensor

from palate.types import Evidence, PairBatch


def evidence_of(*users: Tensor) -> Evidence:
    """Each user's rows (n, E), one user after the other."""
    counts = torch.tensor([0, *(len(rows) for rows in users)])
    return Evidence(torch.cat(users), counts.cumsum(0))


def random_evidence(counts: list[int], columns: int, seed: int = 0) -> Evidence:
    """Rows from N(0, I)."""
    generator = torch.Generator().manual_seed(seed)
    return evidence_of(*(torch.randn(count, columns, generator=generator) for count in counts))


def rows_of(evidence: Evidence, user: int) -> Tensor:
    """One user's rows (n, E)."""
    return evidence.rows[int(evidence.offsets[user]) : int(evidence.offsets[user + 1])]


def random_pairs(
    counts: list[int], width: int, seed: int = 0, *, texts: int = 30, prompts: int = 0
) -> PairBatch:
    """Users' comparisons of random texts from N(0, I), with `prompts` of their own behind them."""
    generator = torch.Generator().manual_seed(seed)
    size = sum(counts)
    features = torch.randn(texts + prompts, width, generator=generator)
    chosen = torch.randint(0, texts, (size,), generator=generator)
    step = torch.randint(1, texts, (size,), generator=generator)
    asked = torch.randint(texts, texts + prompts, (size,), generator=generator) if prompts else None
    return PairBatch(
        features,
        chosen,
        (chosen + step) % texts,
        torch.tensor([0, *counts]).cumsum(0),
        prompt=asked,
    )
