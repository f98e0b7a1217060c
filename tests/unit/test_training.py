"""The training loop: what a step draws, the schedule, the temperature, divergence."""

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from palate.methods import METHODS
from palate.methods.base import Step
from palate.methods.bt import BT, BTSettings
from palate.settings import build
from palate.training import (
    DivergedError,
    draw_step,
    fit,
    learning_rate_share,
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


def test_a_steps_rows_are_its_users_and_its_prompts() -> None:
    """users: numbers of the training users; prompts go with their comparisons."""
    pairs = batch([3, 0, 50, 7])
    prompted = replace(pairs, prompt=1000 + torch.arange(len(pairs)))
    settings = BTSettings(users_per_step=2, comparisons_per_user=10)
    for seed in range(20):
        step = draw_step(prompted, settings, torch.Generator().manual_seed(seed))
        assert step.prompt is not None
        assert step.user.shape == (2,)
        for place, user in enumerate(step.user.tolist()):
            taken = step.weight[place] > 0
            assert set(pairs.user[step.chosen[place][taken]].tolist()) == {user}
            assert torch.equal(step.prompt[place][taken], 1000 + step.chosen[place][taken])
        assert draw_step(pairs, settings, torch.Generator().manual_seed(seed)).prompt is None


def test_a_steps_mean_is_weighted_and_skips_what_is_absent() -> None:
    weight = torch.tensor([[1.0, 3.0], [0.0, 0.0]])
    rows = torch.zeros(2, 2).long()
    step = Step(torch.zeros(1, 1), rows, rows, weight, torch.arange(2))
    assert float(step.mean(torch.tensor([[4.0, 8.0], [99.0, 99.0]]))) == 7.0


class Noted(BT):
    """Bradley-Terry that writes down what the loop asks of it."""

    def __init__(self, settings: BTSettings, width: int) -> None:
        super().__init__(settings, width)
        self.asked: list[str] = []

    def standardise(self, pairs: PairBatch) -> None:
        self.asked.append("standardise")
        super().standardise(pairs)

    def initialise(self, pairs: PairBatch, generator: torch.Generator) -> None:
        self.asked.append("initialise")
        super().initialise(pairs, generator)

    def loss(self, step: Step, generator: torch.Generator) -> torch.Tensor:
        self.asked.append("loss")
        return super().loss(step, generator)

    def finish(self, pairs: PairBatch) -> None:
        self.asked.append(f"finish with {len(pairs)}, training: {self.training}")
        self.spare = nn.Parameter(torch.zeros(1))


def test_the_loop_asks_in_order_and_leaves_nothing_to_train() -> None:
    method = fit(Noted, BTSettings(steps=3), batch([5, 5]), seed=0).method
    assert isinstance(method, Noted)
    whole = ["standardise", "initialise", *["loss"] * 3, "finish with 10, training: True"]
    assert method.asked == whole
    assert not method.training
    assert not any(parameter.requires_grad for parameter in method.parameters())


@pytest.mark.parametrize("name", ["ref", "per_user"])
def test_what_is_not_trained_takes_no_step(name: str) -> None:
    pairs = batch([5, 5], width=1)
    fitted = fit(METHODS[name], METHODS[name].settings_class(), pairs, seed=0)
    assert fitted.losses == ()
    with pytest.raises(NotImplementedError, match=f"{name} is not trained by gradients"):
        fitted.method.loss(
            draw_step(pairs, BTSettings(), torch.Generator().manual_seed(0)), torch.Generator()
        )


@pytest.mark.parametrize("name", ["vpl", "vrf", "pal", "lore", "pref", "bt"])
@pytest.mark.parametrize("counts", [[1, 1, 1, 1], [1, 0, 9, 2]], ids=str)
def test_users_of_few_comparisons_can_be_trained_on(name: str, counts: list[int]) -> None:
    """Half of one comparison is none: nothing is left to infer its user from."""
    settings = build(METHODS[name].settings_class, {"steps": 3, "weight_decay": 1.0})
    fitted = fit(METHODS[name], settings, batch(counts), seed=0)
    assert all(math.isfinite(loss) for loss in fitted.losses)
    for value in fitted.method.state_dict().values():
        assert bool(torch.isfinite(value.float()).all())


@pytest.mark.parametrize("name", ["vpl", "vrf"])
def test_one_comparison_a_step_is_enough(name: str) -> None:
    given = {"steps": 3, "weight_decay": 1.0, "comparisons_per_user": 1, "users_per_step": 1}
    settings = build(METHODS[name].settings_class, given)
    assert len(fit(METHODS[name], settings, batch([4, 4]), seed=0).losses) == 3


def test_schedule_warms_up_and_ends_near_zero() -> None:
    shares = [learning_rate_share(step, 100, 10) for step in range(100)]
    assert shares[0] == pytest.approx(0.1)
    assert max(shares) <= 1
    assert shares[-1] < 0.001
    assert shares[20:] == sorted(shares[20:], reverse=True)


@pytest.mark.parametrize(("users", "expected"), [(10, 600), (64 * 600, 3000)])
def test_steps_grow_with_the_users(users: int, expected: int) -> None:
    assert BTSettings(users_per_step=64).number_of_steps(users) == expected
    assert BTSettings(users_per_step=64, steps=7).number_of_steps(users) == 7


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
