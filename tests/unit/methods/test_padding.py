"""Chunks and padding: every answer of every user once, and nothing else."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from palate.methods.padding import chunks, padded
from palate.types import Evidence
from tests.unit.methods.worlds import random_evidence, rows_of

some_counts = st.lists(st.integers(0, 40), max_size=30)


@given(counts=some_counts, entries=st.integers(1, 5000))
def test_chunks_hold_every_user_with_answers_once(counts: list[int], entries: int) -> None:
    found = chunks(torch.tensor(counts, dtype=torch.long), entries)
    users = [int(user) for chunk in found for user in chunk]
    assert sorted(users) == [user for user, count in enumerate(counts) if count]


@given(counts=some_counts, entries=st.integers(1, 5000))
def test_chunks_are_bounded_and_of_like_counts(counts: list[int], entries: int) -> None:
    for chunk in chunks(torch.tensor(counts, dtype=torch.long), entries):
        sizes = [counts[int(user)] for user in chunk]
        assert len(chunk) == 1 or len(chunk) * max(sizes) ** 2 <= entries
        assert max(sizes) < 2 * min(sizes)


@given(counts=some_counts.filter(any), entries=st.integers(1, 5000), seed=st.integers(0, 99))
def test_padded_rows_are_a_users_own(counts: list[int], entries: int, seed: int) -> None:
    evidence = random_evidence(counts, 3, seed)
    for users in chunks(evidence.counts, entries):
        rows, mask = padded(evidence, users)
        assert rows.shape == (*mask.shape, 3)
        assert mask.dtype == evidence.rows.dtype
        for place, user in enumerate(users.tolist()):
            count = counts[user]
            assert mask[place].tolist() == [1.0] * count + [0.0] * (mask.shape[1] - count)
            assert torch.equal(rows[place, :count], rows_of(evidence, user))
            assert not rows[place, count:].any()


def test_a_neighbours_row_is_not_seen() -> None:
    evidence = Evidence(torch.tensor([[1.0], [9.0], [9.0]]), torch.tensor([0, 1, 3]))
    rows, mask = padded(evidence, torch.tensor([0, 1]))
    assert rows[..., 0].tolist() == [[1.0, 0.0], [9.0, 9.0]]
    assert mask.tolist() == [[1.0, 0.0], [1.0, 1.0]]


def test_the_mask_holds_the_weights() -> None:
    """Rows stay as they are; what they count stands in the mask."""
    rows = torch.tensor([[1.0], [2.0], [3.0]])
    evidence = Evidence(rows, torch.tensor([0, 1, 3]), torch.tensor([0.5, 0.0, 0.25]))
    table, mask = padded(evidence, torch.tensor([1, 0]))
    assert table[..., 0].tolist() == [[2.0, 3.0], [1.0, 0.0]]
    assert mask.tolist() == [[0.0, 0.25], [0.5, 0.0]]


def test_users_of_few_answers_take_room_too() -> None:
    """With matrices of `least` columns beside the answers, a chunk holds fewer of them."""
    counts = torch.tensor([1] * 10 + [5])
    parts = chunks(counts, entries=48, least=4)
    assert [len(part) for part in parts] == [3, 3, 3, 1, 1]
    assert torch.cat(parts).tolist() == list(range(11))


def test_nobody_with_answers_is_no_chunk() -> None:
    assert chunks(torch.zeros(3, dtype=torch.long)) == []
    assert chunks(torch.zeros(0, dtype=torch.long)) == []
