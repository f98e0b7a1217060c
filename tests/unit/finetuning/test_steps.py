from __future__ import annotations

import numpy as np
import torch

from palate.finetuning.grouping import IntArray
from palate.finetuning.steps import arrange, step_of
from palate.methods.references import divide
from palate.types import PairBatch

WIDTH = 3


def world(counts: tuple[int, ...] = (6, 3, 1)) -> PairBatch:
    size = sum(counts)
    features = torch.arange(2.0 * size)[:, None].expand(2 * size, WIDTH).clone()
    offsets = torch.tensor([0, *np.cumsum(counts).tolist()])
    return PairBatch(features, torch.arange(size), torch.arange(size, 2 * size), offsets)


def live(items: IntArray, moves: bool) -> torch.Tensor:
    """Hidden states that say which item they are of, and whether they may move."""
    base = torch.from_numpy(items)[:, None] + (1000.0 if moves else 2000.0)
    return base.expand(len(items), WIDTH).clone().requires_grad_(moves)


def rows(*numbers: int) -> IntArray:
    return np.array(numbers, dtype=np.int64)


def test_references_are_the_users_other_comparisons() -> None:
    pairs = world()
    columns = arrange(pairs, rows(0, 1, 6), 20, np.random.default_rng(0))
    assert columns.user.tolist() == [0, 1]
    assert columns.references == 4
    first, second = columns.comparison
    assert set(first[:4]) == {2, 3, 4, 5}
    assert set(first[4:]) == {0, 1}
    assert set(second[:2]) == {7, 8}
    assert second[4:].tolist() == [6, -1]


def test_a_user_whose_comparisons_are_all_in_the_step_gives_half_up() -> None:
    columns = arrange(world(), rows(0, 1, 2, 3, 4, 5, 9), 20, np.random.default_rng(0))
    known, aimed = columns.comparison[0, : columns.references], columns.comparison[0, 3:]
    assert columns.references == 3
    assert sorted([*known, *aimed[:3]]) == list(range(6))
    assert columns.comparison[1].tolist()[3] == 9  # one comparison alone is a target


def test_a_method_without_references_has_targets_only() -> None:
    columns = arrange(world(), rows(0, 1, 6), 0, np.random.default_rng(0))
    assert columns.references == 0
    assert columns.comparison.shape == (2, 2)


def test_no_more_references_than_are_asked_for() -> None:
    columns = arrange(world(), rows(0), 2, np.random.default_rng(0))
    assert columns.references == 2


def test_targets_are_live_and_references_frozen() -> None:
    pairs = world()
    columns = arrange(pairs, rows(0, 6), 20, np.random.default_rng(0))
    step = step_of(pairs, columns, live, frozen=True)
    assert step.features.shape[1] == 2 * WIDTH
    target = step.features[step.chosen[0, columns.references]]
    assert target.tolist() == [1000.0] * WIDTH + [0.0] * WIDTH
    reference = step.features[step.chosen[0, 0]]
    number = float(columns.comparison[0, 0])
    assert reference.tolist() == [number] * 2 * WIDTH


def test_without_a_frozen_copy_references_are_encoded_without_gradient() -> None:
    pairs = world()
    columns = arrange(pairs, rows(0, 6), 20, np.random.default_rng(0))
    step = step_of(pairs, columns, live, frozen=False)
    assert step.features.shape[1] == WIDTH
    reference = step.features[step.rejected[0, 0]]
    assert reference.tolist() == [2000.0 + columns.comparison[0, 0] + len(pairs)] * WIDTH


def test_a_division_takes_the_step_at_its_word() -> None:
    pairs = world((6, 4))
    columns = arrange(pairs, rows(0, 1, 6), 20, np.random.default_rng(0))
    step = step_of(pairs, columns, live, frozen=True)
    for seed in range(10):
        division = divide(step, 0, 20, torch.Generator().manual_seed(seed))
        assert bool((division.target[:, : columns.references] == 0).all())
        assert bool((division.target[:, columns.references :] > 0).any(1).all())
        assert not bool(division.is_reference[:, columns.references :].any())
        assert int(division.count.max()) <= columns.references


def test_prompts_are_encoded_with_the_responses() -> None:
    pairs = world()
    prompts = torch.full((len(pairs),), 19)
    pairs = PairBatch(pairs.features, pairs.chosen, pairs.rejected, pairs.offsets, None, prompts)
    step = step_of(
        pairs, arrange(pairs, rows(0, 6), 0, np.random.default_rng(0)), live, frozen=False
    )
    assert step.prompt is not None
    assert float(step.features.detach()[step.prompt[0, 0], 0]) == 1019.0


def test_weights_of_comparisons_are_kept() -> None:
    pairs = world()
    weight = torch.arange(1.0, 11.0)
    pairs = PairBatch(pairs.features, pairs.chosen, pairs.rejected, pairs.offsets, weight)
    step = step_of(
        pairs, arrange(pairs, rows(3, 6), 0, np.random.default_rng(0)), live, frozen=False
    )
    assert step.weight.tolist() == [[4.0], [7.0]]
