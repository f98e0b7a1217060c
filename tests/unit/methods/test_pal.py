"""PAL: weights of new users, prompts where they are read, and what is kept of users."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from palate.errors import CannotRunError
from palate.methods.base import Step
from palate.methods.pal import PAL, PALSettings
from palate.types import PairBatch
from tests.unit.methods.worlds import random_pairs

WIDTH, K = 6, 3
variants = pytest.mark.parametrize("variant", ["A", "B"])


def pairs_of(counts: list[int]) -> PairBatch:
    return random_pairs(counts, WIDTH, prompts=4)


def make(variant: str, pairs: PairBatch) -> PAL:
    settings: dict[str, Any] = {"variant": variant, "prototypes": K, "hidden": 5, "dimensions": 4}
    method = PAL(PALSettings(**settings), WIDTH)
    method.standardise(pairs)
    method.initialise(pairs, torch.Generator().manual_seed(0))
    return method


@variants
def test_the_loss_is_the_joint_likelihood_by_rewards(variant: str) -> None:
    """From rewards, response by response, which share no formula with training's margins."""
    pairs = pairs_of([4, 4])
    method = make(variant, pairs)
    assert pairs.prompt is not None
    assert method.users is not None
    step = Step(
        pairs.features,
        pairs.chosen.view(2, 4),
        pairs.rejected.view(2, 4),
        torch.rand(2, 4, generator=torch.Generator().manual_seed(1)),
        torch.tensor([1, 0]),
        pairs.prompt.view(2, 4),
    )
    weight = method.users[step.user].softmax(-1).repeat_interleave(4, 0)
    prompt = method.texts(pairs.features[pairs.prompt])
    better, worse = (
        method.geometry.rewards(method.texts(pairs.features[rows]), prompt, weight)
        for rows in (pairs.chosen, pairs.rejected)
    )
    losses = -F.logsigmoid(better - worse).view(2, 4)
    expected = (losses * step.weight).sum() / step.weight.sum()
    torch.testing.assert_close(method.loss(step, torch.Generator()), expected, rtol=1e-4, atol=1e-5)


@variants
def test_new_weights_explain_answers_at_least_as_the_population(variant: str) -> None:
    pairs = pairs_of([0, 1, 6, 20])
    method = make(variant, pairs)
    method.finish(pairs)
    posterior = method.infer(pairs)
    torch.testing.assert_close(posterior.mean.sum(1), torch.ones(4))
    torch.testing.assert_close(posterior.mean[0], method.population)
    everybody = replace(posterior, mean=method.population.expand(4, K))
    own, start = (
        torch.zeros(4).index_add(0, pairs.user, F.logsigmoid(method.margins(known, pairs).mean))
        for known in (posterior, everybody)
    )
    assert bool((own >= start - 1e-4).all())
    assert float(own[3]) > float(start[3])


@variants
def test_the_population_is_the_mean_of_weights_and_users_are_forgotten(variant: str) -> None:
    pairs = pairs_of([2] * 7)
    method = make(variant, pairs)
    assert method.users is not None
    weights = method.users.detach().softmax(-1)
    method.finish(pairs)
    torch.testing.assert_close(method.population, weights.mean(0))
    assert method.users is None
    fresh = PAL(method.settings, WIDTH)
    assert set(method.state_dict()) == set(fresh.state_dict())


def test_the_angle_needs_prompts_and_says_so() -> None:
    method = make("B", pairs_of([3]))
    without = replace(pairs_of([3]), prompt=None)
    with pytest.raises(CannotRunError, match="variant B needs the hidden states of prompts"):
        method.evidence(without)
    posterior = method.infer(pairs_of([3]))
    with pytest.raises(CannotRunError, match="variant B needs"):
        method.reward(posterior, torch.randn(2, WIDTH))


def test_the_ideal_point_needs_none() -> None:
    method = make("A", pairs_of([3]))
    pairs = pairs_of([3])
    blind = method.infer(replace(pairs, prompt=None))
    assert torch.equal(blind.mean, method.infer(pairs).mean)
    assert len(method.reward(blind, torch.randn(2, WIDTH)).mean) == 2


@variants
def test_the_temperature_scales_rewards_and_margins(variant: str) -> None:
    pairs = pairs_of([3])
    method = make(variant, pairs)
    posterior = method.infer(pairs)
    assert pairs.prompt is not None
    prompt = pairs.features[pairs.prompt[0]]
    before = method.margins(posterior, pairs).mean, method.reward(posterior, pairs.features, prompt)
    method.temperature.fill_(3.0)
    torch.testing.assert_close(method.margins(posterior, pairs).mean, 3 * before[0])
    after = method.reward(posterior, pairs.features, prompt).mean
    torch.testing.assert_close(after, 3 * before[1].mean)
    assert torch.equal(method.infer(pairs).mean, posterior.mean)  # answers weigh as in training


@variants
def test_the_features_may_be_shifted_and_scaled(variant: str) -> None:
    """Standardised at the door: all that is left is rounding."""
    pairs = pairs_of([5, 5])
    moved = replace(pairs, features=4 * pairs.features + 2)
    one, other = make(variant, pairs), make(variant, moved)
    torch.testing.assert_close(one.evidence(pairs), other.evidence(moved), rtol=1e-3, atol=1e-4)
