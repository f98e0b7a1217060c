"""Padding that a mask alone tells, and rows of any length that come back in their order."""

from __future__ import annotations

from itertools import pairwise

import torch
from hypothesis import given
from hypothesis import strategies as st

from palate.features.batches import CHARACTERS_A_TOKEN, Batches, pad


@given(
    rows=st.lists(st.lists(st.integers(1, 99), min_size=1, max_size=40), min_size=1, max_size=6),
    most=st.integers(8, 64),
)
def test_padding_is_masked_on_the_right_and_never_past_the_limit(
    rows: list[list[int]], most: int
) -> None:
    rows = [row[:most] for row in rows]
    ids, mask = pad(rows, most=most)
    assert ids.shape == mask.shape
    assert ids.shape[1] <= most
    for row, got, real in zip(rows, ids, mask, strict=True):
        assert got[: len(row)].tolist() == row
        assert real.tolist() == [1] * len(row) + [0] * (len(real) - len(row))


@given(
    rows=st.lists(st.lists(st.integers(1, 99), min_size=1, max_size=9)), budget=st.integers(1, 40)
)
def test_rows_run_in_batches_under_the_budget_and_keep_their_order(
    rows: list[list[int]], budget: int
) -> None:
    batches = Batches("cpu")
    batches.token_budget, batches.workers = budget, 1
    seen = []

    def forward(batch: list[list[int]]) -> torch.Tensor:
        seen.append(len(batch) * max(map(len, batch)))
        assert seen[-1] <= budget or len(batch) == 1
        return torch.tensor([[sum(row), len(row)] for row in batch])

    if rows:
        expected = [[sum(row), len(row)] for row in rows]
        assert batches.run(rows, forward).tolist() == expected


@given(lengths=st.lists(st.integers(0, 99)), budget=st.integers(1, 9))
def test_chunks_hold_every_place_once_the_longest_first(lengths: list[int], budget: int) -> None:
    batches = Batches("cpu")
    batches.token_budget, batches.chunk_batches = budget, 1
    chunks = [places.tolist() for places in batches.chunks(lengths)]
    assert sorted(place for places in chunks for place in places) == list(range(len(lengths)))
    of = [[lengths[place] for place in places] for places in chunks]
    assert all(min(before) >= max(after) for before, after in pairwise(of))
    most = CHARACTERS_A_TOKEN * budget + max(lengths, default=0)
    assert all(sum(chunk) <= most for chunk in of)
