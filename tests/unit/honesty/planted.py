"""Users with linear tastes from N(0, I), and the method whose model of them is the true one."""

from __future__ import annotations

import torch
from torch import Tensor

from palate.methods.pref import PReF, PReFSettings
from palate.types import PairBatch

WIDTH = 3


def true_method() -> PReF:
    """PReF whose basis rewards are the features themselves and whose prior is the users'."""
    method = PReF(PReFSettings(bases=WIDTH, l2=1.0), WIDTH)
    with torch.no_grad():
        method.head.weight.copy_(torch.eye(WIDTH))
    return method.requires_grad_(False)


def tastes(users: int, generator: torch.Generator) -> Tensor:
    return torch.randn(users, WIDTH, generator=generator)


def answered(taste: Tensor, generator: torch.Generator) -> PairBatch:
    """Answers by tastes (U, n, WIDTH), one an answer, drawn by Bradley-Terry."""
    users, n, _ = taste.shape
    texts = 1.5 * torch.randn(users * n * 2, WIDTH, generator=generator)
    first, second = texts.view(-1, 2, WIDTH).unbind(1)
    margin = ((first - second) * taste.reshape(-1, WIDTH)).sum(-1)
    prefers = torch.rand(users * n, generator=generator) < torch.sigmoid(margin)
    rows = torch.arange(users * n * 2).view(-1, 2)
    return PairBatch(
        texts,
        torch.where(prefers, rows[:, 0], rows[:, 1]),
        torch.where(prefers, rows[:, 1], rows[:, 0]),
        torch.arange(users + 1) * n,
    )
