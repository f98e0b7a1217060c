"""The training loop: what a step draws, the schedule, the temperature, divergence."""

from collections import Counter

import numpy as np
import pytest
import torch

from palate.methods import METHODS
from palate.methods.bt import BT, BTSettings
from palate.training import (
    DivergedError,
    draw_step,
    fit,
    learning_rate_share,
    number_of_steps,
)
from palate.types import PairBatch


def batch(counts: list[int], width: int = 4) -> PairBatch:
    """Comparisons numbered so that chosen - 1000 * user tells which one it is."""
    offsets = torch.tensor([0, *np.cumsum(counts)])
    size = sum(counts)
    features = torch.randn(2 * size, width, generator=torch.Generator().manual_seed(0))
    return PairBatch(features, torch.arange(size), torch.arange(size, 2 * size), offsets)


def test_a_step_draws_each_user_and_comparison_once_and_no_other() -> None:
    pairs = batch([3, 0, 50, 7])
    settings = BTSettings(users_per_step=2, comparisons_per_user=10)
    seen_users: Counter[int] = Counter()
    for seed in range(200):
        step = draw_step(pairs, settings, torch.Generator().manual_seed(seed))
        assert step.chosen.shape[0] == 2
        for chosen, rejected, weight in zip(step.chosen, step.rejected, step.weight, strict=True):
            taken = chosen[weight > 0].tolist()
            owner = {int(pairs.user[row]) for row in taken}
            assert len(owner) == 1
            assert len(set(taken)) == len(taken)
            assert len(taken) == min(10, int(pairs.counts[owner.pop()]))
            assert (rejected - chosen == len(pairs)).all()
            seen_users[int(pairs.user[taken[0]])] += 1
    assert set(seen_users) == {0, 2, 3}
    assert min(seen_users.values()) > 100


def test_every_comparison_is_drawn_alike() -> None:
    pairs = batch([40])
    drawn: Counter[int] = Counter()
    for seed in range(2000):
        step = draw_step(
            pairs, BTSettings(comparisons_per_user=8), torch.Generator().manual_seed(seed)
        )
        drawn.update(step.chosen[0].tolist())
    expected = 2000 * 8 / 40
    chi_square = sum((drawn[i] - expected) ** 2 / expected for i in range(40))
    assert chi_square < 80  # 39 degrees of freedom: exceeded once in 10,000


def test_weights_travel_with_their_comparisons() -> None:
    pairs = batch([5])
    weighted = PairBatch(
        pairs.features, pairs.chosen, pairs.rejected, pairs.offsets, torch.arange(1.0, 6.0)
    )
    step = draw_step(weighted, BTSettings(), torch.Generator().manual_seed(0))
    assert torch.equal(step.weight[0], step.chosen[0] + 1.0)


def test_schedule_warms_up_and_ends_near_zero() -> None:
    shares = [learning_rate_share(step, 100, 10) for step in range(100)]
    assert shares[0] == pytest.approx(0.1)
    assert max(shares) <= 1
    assert shares[-1] < 0.001
    assert shares[20:] == sorted(shares[20:], reverse=True)


@pytest.mark.parametrize(("users", "expected"), [(10, 600), (64 * 600, 3000)])
def test_steps_grow_with_the_users(users: int, expected: int) -> None:
    assert number_of_steps(BTSettings(), users) == expected
    assert number_of_steps(BTSettings(steps=7), users) == 7


def test_divergence_stops_with_what_to_do() -> None:
    pairs = batch([30, 30])
    broken = PairBatch(pairs.features * torch.nan, pairs.chosen, pairs.rejected, pairs.offsets)
    with pytest.raises(DivergedError, match="learning_rate"):
        fit(METHODS["bt"], BTSettings(steps=3), broken, seed=0)


@pytest.mark.parametrize("width", [4, 64, 1024])
def test_training_learns_at_any_width_of_features(width: int) -> None:
    """One direction decides; narrow and wide features must both find it in the same steps."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(400, width, generator=generator)
    first, second = torch.randint(0, 400, (2, 4000), generator=generator)
    better = features[first, 0] > features[second, 0]
    chosen, rejected = torch.where(better, first, second), torch.where(better, second, first)
    pairs = PairBatch(features, chosen, rejected, torch.arange(0, 4001, 100))
    method = fit(BT, BTSettings(steps=300, weight_decay=1.0), pairs, seed=0).method
    margin = method.margins(method.infer(pairs), pairs).mean
    assert float((margin > 0).float().mean()) > 0.9


def test_training_returns_the_callers_thread_count() -> None:
    before = torch.get_num_threads()
    fit(METHODS["bt"], BTSettings(steps=2), batch([5, 5]), seed=0)
    assert torch.get_num_threads() == before
