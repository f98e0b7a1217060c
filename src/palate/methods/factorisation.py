"""Answers as a matrix of users by pairs, factorised: the start of PReF (section 4.1)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from palate.types import PairBatch

#: Rounds of fill-in: missing entries take the low-rank approximation of the round before.
ROUNDS = 10
#: Most entries of the dense matrix; the pairs answered by most users are taken.
ENTRIES = 50_000_000
#: Up to this many users or pairs the decomposition is exact; past it, by orthogonal iteration with
#: SPARE columns more than asked for, ITERATIONS times.
EXACT = 1024
SPARE = 8
ITERATIONS = 4
#: A margin is about four times a probability's distance from one half.
LOGIT = 4.0


@dataclass(frozen=True, eq=False)
class Factors:
    """users: (U, K) user vectors. pairs: (B, K) each comparison's factor, chosen minus rejected.

    singular_values: of the filled matrix, largest first, whose elbow tells K.
    """

    users: Tensor
    pairs: Tensor
    singular_values: Tensor


def factorise_answers(pairs: PairBatch, bases: int, generator: torch.Generator) -> Factors | None:
    """Truncated SVD of the answers: user . pair is about the margin; None without shared pairs.

    The matrix holds +1/2 where a user preferred a pair's first response, -1/2 where the other, and
    is filled in by its own rank-K approximation, clipped to what an answer can be.
    """
    observed = _matrix(pairs)
    if observed is None:
        return None
    answers, known, column, sign = observed
    if min(answers.shape) < bases:
        return None
    filled = torch.where(known, answers, torch.zeros(()))
    for _ in range(ROUNDS):
        left, values = _left_factors(filled, bases, generator)
        low_rank = left @ (left.T @ filled)
        filled = torch.where(known, answers, low_rank.clamp(-0.5, 0.5))
    left, values = _left_factors(filled, bases, generator)
    root = values[:bases].clamp_min(1e-6).sqrt()
    right = filled.T @ left / root  # V S / sqrt(S)
    scale = LOGIT**0.5
    kept = column >= 0
    factor = sign[:, None] * right[column.clamp_min(0)] * kept[:, None]
    return Factors(left * root * scale, factor * scale, values)


def _matrix(pairs: PairBatch) -> tuple[Tensor, Tensor, Tensor, Tensor] | None:
    """Answers (U, P) with the mask of those known, and each comparison's column (-1: none), sign.

    A pair counts when two users answered it. Several answers of a user to a pair are averaged.
    """
    first = torch.minimum(pairs.chosen, pairs.rejected)
    second = torch.maximum(pairs.chosen, pairs.rejected)
    sign = torch.where(pairs.chosen == first, 1.0, -1.0)
    key = first * len(pairs.features) + second
    distinct, column = torch.unique(key, return_inverse=True)
    by_user = torch.unique(torch.stack([pairs.user, column]), dim=1)
    users_of_pair = torch.bincount(by_user[1], minlength=len(distinct))
    most = max(ENTRIES // max(pairs.users, 1), 1)
    order = users_of_pair.argsort(descending=True, stable=True)[:most]
    order = order[users_of_pair[order] > 1]
    if not len(order):
        return None
    place = torch.full((len(distinct),), -1).index_put((order,), torch.arange(len(order)))
    column = place[column]
    kept = column >= 0
    cell = pairs.user[kept] * len(order) + column[kept]
    count = torch.bincount(cell, minlength=pairs.users * len(order))
    total = torch.bincount(cell, weights=sign[kept] / 2, minlength=pairs.users * len(order))
    known = (count > 0).view(pairs.users, -1)
    answers = (total / count.clamp_min(1)).float().view(pairs.users, -1)
    return answers, known, column, sign


def _left_factors(matrix: Tensor, bases: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Leading left singular vectors (U, K) and singular values, largest first.

    All values from the smaller side where it is small; else the leading ones by orthogonal
    iteration (Halko, Martinsson and Tropp, 2011).
    """
    if min(matrix.shape) > EXACT:
        basis = torch.randn(matrix.shape[1], bases + SPARE, generator=generator)
        for _ in range(ITERATIONS):
            basis = matrix.T @ torch.linalg.qr(matrix @ basis).Q
        left = torch.linalg.qr(matrix @ basis).Q
        within = left.T @ matrix
        squares, vectors = torch.linalg.eigh(within @ within.T)
        values = squares.flip(0).clamp_min(0).sqrt()
        return (left @ vectors.flip(1))[:, :bases], values
    if matrix.shape[0] <= matrix.shape[1]:
        squares, vectors = torch.linalg.eigh(matrix @ matrix.T)
        values = squares.flip(0).clamp_min(0).sqrt()
        return vectors.flip(1)[:, :bases], values
    squares, vectors = torch.linalg.eigh(matrix.T @ matrix)
    values = squares.flip(0).clamp_min(0).sqrt()
    left = matrix @ vectors.flip(1)[:, :bases] / values[:bases].clamp_min(1e-6)
    return left, values
