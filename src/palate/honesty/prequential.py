"""Answers predicted one after the other, each from those before it (Dawid's prequential way)."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from palate.methods import Method
from palate.types import Evidence, PairBatch, rows_of_spans

#: Most rows of evidence in a batch; a span longer than that makes a batch of its own.
BATCH = 1 << 15


@torch.no_grad()
def prequential(
    method: Method, pairs: PairBatch, *, half_life: float | None = None, batch: int = BATCH
) -> Tensor:
    """(B,) logit that chosen is preferred, under the posterior of the same user's answers before.

    A user's comparisons are taken in the order in which `pairs` has them; the first is predicted
    by the population. half_life: answers after which one counts half; None for never.
    """
    answer = torch.arange(len(pairs))
    start = pairs.offsets[:-1].repeat_interleave(pairs.counts)
    return predict_from(method, pairs, start, answer, half_life=half_life, batch=batch)


@torch.no_grad()
def predict_from(
    method: Method,
    pairs: PairBatch,
    first: Tensor,
    answer: Tensor,
    *,
    half_life: float | None = None,
    batch: int = BATCH,
) -> Tensor:
    """(S,) logits of comparisons answer (S,) under the posterior of first (S,) up to, not with, it.

    first and answer are rows of `pairs`, of one user each. Memory is bounded by the batch.
    """
    if half_life is not None and not half_life > 0:
        raise ValueError(f"half_life is {half_life}; expected answers, more than 0")
    rows = method.evidence(pairs)
    logit = rows.new_zeros(len(answer))
    for part in _parts(answer - first, batch):
        posterior = method.posterior(spans(rows, first[part], answer[part], half_life))
        logit[part] = method.margins(posterior, _one_each(pairs, answer[part])).logit
    return logit


def spans(rows: Tensor, first: Tensor, last: Tensor, half_life: float | None = None) -> Evidence:
    """Rows first:last of (B, E) as the evidence of S users, the newest of age 0."""
    counts = last - first
    row, offsets = rows_of_spans(first, counts)
    weight = None
    if half_life is not None:
        age = last.repeat_interleave(counts) - 1 - row
        weight = torch.exp2(-age.to(rows.dtype) / half_life)
    return Evidence(rows[row], offsets, weight)


def _parts(sizes: Tensor, batch: int) -> Iterator[Tensor]:
    """Numbers of spans, in parts of about `batch` rows."""
    counts = torch.bincount(sizes.clamp_min(1).cumsum(0) // batch)
    yield from torch.split(torch.arange(len(sizes)), counts[counts > 0].tolist())


def _one_each(pairs: PairBatch, answer: Tensor) -> PairBatch:
    """Comparisons (S,) of as many users, over the features that they need and no others."""
    columns = [pairs.chosen, pairs.rejected]
    if pairs.prompt is not None:
        columns.append(pairs.prompt)
    S = len(answer)
    place = torch.arange(len(columns) * S).view(len(columns), S)
    return PairBatch(
        features=pairs.features[torch.cat([column[answer] for column in columns])],
        chosen=place[0],
        rejected=place[1],
        offsets=torch.arange(S + 1),
        prompt=None if pairs.prompt is None else place[2],
    )
