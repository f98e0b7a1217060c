from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from palate.finetuning.grouping import steps_of_epoch


def steps(pairs: list[tuple[int, int]], texts: int, seed: int = 0) -> list[list[int]]:
    chosen, rejected = (torch.tensor(side) for side in zip(*pairs, strict=True))
    generator = torch.Generator().manual_seed(seed)
    return [step.tolist() for step in steps_of_epoch(chosen, rejected, texts, generator)]


def items(pairs: list[tuple[int, int]], step: list[int]) -> set[int]:
    return {item for row in step for item in pairs[row]}


PAIRS = st.lists(
    st.tuples(st.integers(0, 12), st.integers(0, 12)).filter(lambda pair: pair[0] != pair[1]),
    min_size=1,
    max_size=60,
)


@given(PAIRS, st.integers(2, 20), st.integers(0, 5))
def test_each_comparison_is_in_one_step_and_no_step_has_too_many_texts(
    pairs: list[tuple[int, int]], texts: int, seed: int
) -> None:
    found = steps(pairs, texts, seed)
    assert sorted(row for step in found for row in step) == list(range(len(pairs)))
    assert all(len(items(pairs, step)) <= texts for step in found)


def test_comparisons_of_the_same_texts_come_together() -> None:
    draw = np.random.default_rng(0)
    lists = [range(10 * i, 10 * i + 10) for i in range(8)]
    pairs = [tuple(map(int, draw.choice(list(own), 2, replace=False))) for own in lists * 20]
    found = steps(pairs, 10)  # type: ignore[arg-type]
    assert len(found) == 8
    assert sum(len(items(pairs, step)) for step in found) == 80  # type: ignore[arg-type]


def test_steps_are_of_the_seed_alone() -> None:
    pairs = [(i, (i * 7 + 1) % 30) for i in range(30) if i != (i * 7 + 1) % 30]
    assert steps(pairs, 6, seed=1) == steps(pairs, 6, seed=1)
    assert steps(pairs, 6, seed=1) != steps(pairs, 6, seed=2)


def test_small_neighbourhoods_share_a_step() -> None:
    pairs = [(2 * i, 2 * i + 1) for i in range(10)]
    assert sorted(map(len, steps(pairs, 8))) == [2, 4, 4]


@pytest.mark.parametrize("texts", [2, 3])
def test_the_least_step_is_a_comparison(texts: int) -> None:
    assert len(steps([(0, 1), (1, 2), (2, 0)], texts)) >= (3 if texts == 2 else 1)
