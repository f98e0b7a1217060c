"""LoRe: the joint likelihood, the pull to everybody's reward, and what is kept of users."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from palate.methods.base import Step
from palate.methods.lore import LoRe, LoReSettings
from palate.training import fit
from palate.types import PairBatch
from tests.unit.methods.worlds import random_pairs

WIDTH, K = 6, 3
COUNTS = [12] * 9


def make(pairs: PairBatch, **settings: object) -> LoRe:
    method = LoRe(LoReSettings(**({"bases": K} | settings)), WIDTH)  # type: ignore[arg-type]
    method.standardise(pairs)
    method.initialise(pairs, torch.Generator().manual_seed(0))
    return method


def step_of(pairs: PairBatch) -> Step:
    shape = (pairs.users, -1)
    weight = torch.ones(pairs.users, len(pairs) // pairs.users)
    return Step(
        pairs.features,
        pairs.chosen.view(shape),
        pairs.rejected.view(shape),
        weight,
        torch.arange(pairs.users),
    )


def leaning(seed: int = 0) -> PairBatch:
    """Comparisons whose chosen text lies further along the first axis, most of the time."""
    pairs = random_pairs(COUNTS, WIDTH, seed)
    better = pairs.features[pairs.chosen, 0] > pairs.features[pairs.rejected, 0]
    return PairBatch(
        pairs.features,
        torch.where(better, pairs.chosen, pairs.rejected),
        torch.where(better, pairs.rejected, pairs.chosen),
        pairs.offsets,
    )


def cosines(method: LoRe, pairs: PairBatch) -> Tensor:
    """(K,) of the bases to the mean difference."""
    delta = pairs.features[pairs.chosen] - pairs.features[pairs.rejected]
    return F.cosine_similarity(method.head.weight.detach(), delta.mean(0)[None], dim=-1)


def test_the_loss_is_the_joint_likelihood_answer_by_answer() -> None:
    pairs = random_pairs([4, 4, 4], WIDTH)
    method = make(pairs)
    step = step_of(pairs)
    step = Step(step.features, step.chosen, step.rejected, torch.rand(3, 4), step.user.flip(0))
    assert method.users is not None
    losses = []
    for place, user in enumerate(step.user.tolist()):
        weight = method.users[user].softmax(-1)
        for slot in range(4):
            chosen, rejected = step.chosen[place, slot], step.rejected[place, slot]
            delta = (pairs.features[chosen] - pairs.features[rejected]) * method.scale[1]
            margin = sum(weight[k] * (method.head.weight[k] @ delta) for k in range(K))
            losses.append(step.weight[place, slot] * torch.log1p(torch.exp(-margin)))
    expected = torch.stack(losses).sum() / step.weight.sum()
    torch.testing.assert_close(method.loss(step, torch.Generator()), expected)


def test_the_pull_is_the_mean_of_one_minus_the_cosine() -> None:
    pairs = leaning()
    with_pull, without = (
        make(pairs, pull=pull).loss(step_of(pairs), torch.Generator()) for pull in (2.5, 0.0)
    )
    expected = 2.5 * (1 - cosines(make(pairs), pairs)).mean()
    torch.testing.assert_close(with_pull - without, expected)


def test_pull_draws_every_basis_to_the_mean_difference() -> None:
    pairs = leaning()
    found = [
        cosines(
            fit(
                LoRe,
                LoReSettings(bases=K, steps=150, weight_decay=0.0, pull=pull, learning_rate=0.01),
                pairs,
                seed=0,
            ).method,  # type: ignore[arg-type]
            pairs,
        )
        for pull in (0.0, 5.0)
    ]
    assert bool((found[1] > found[0]).all())
    assert float(found[1].min()) > 0.95


def test_the_population_is_the_mean_of_the_seen_users_weights() -> None:
    pairs = random_pairs(COUNTS, WIDTH)
    method = make(pairs)
    assert method.users is not None
    with torch.no_grad():
        method.users.copy_(torch.randn(9, K, generator=torch.Generator().manual_seed(3)))
    weights = method.users.detach().exp()
    weights = weights / weights.sum(1, keepdim=True)
    method.finish(pairs)
    torch.testing.assert_close(method.population, weights.mean(0))
    nobody = method.infer(random_pairs([0, 0], WIDTH))
    torch.testing.assert_close(nobody.mean, method.population.expand(2, K))


def test_users_are_forgotten_after_training() -> None:
    pairs = random_pairs(COUNTS, WIDTH)
    method = make(pairs)
    assert "users" in method.state_dict()
    method.finish(pairs)
    assert method.users is None
    assert "users" not in method.state_dict()
    assert set(method.state_dict()) == set(LoRe(LoReSettings(bases=K), WIDTH).state_dict())


@pytest.mark.parametrize("gain", [0.1, 4.0])
def test_gain_is_the_scale_of_the_start(gain: float) -> None:
    pairs = random_pairs(COUNTS, WIDTH)
    one, other = make(pairs, gain=gain).head.weight, make(pairs).head.weight
    torch.testing.assert_close(one, gain * other)


def test_users_of_opposed_bases_are_told_apart() -> None:
    """Two bases that are opposite: a user's answers decide between them, convexly."""
    method = LoRe(LoReSettings(bases=2), WIDTH)
    with torch.no_grad():
        method.head.weight.zero_()
        method.head.weight[:, 0] = torch.tensor([3.0, -3.0])
    pairs = random_pairs([40], WIDTH)
    first = pairs.features[pairs.chosen, 0] > pairs.features[pairs.rejected, 0]
    chosen = torch.where(first, pairs.chosen, pairs.rejected)
    rejected = torch.where(first, pairs.rejected, pairs.chosen)
    fond = PairBatch(pairs.features, chosen, rejected, pairs.offsets)
    averse = PairBatch(pairs.features, rejected, chosen, pairs.offsets)
    assert float(method.infer(fond).mean[0, 0]) > 0.9
    assert float(method.infer(averse).mean[0, 1]) > 0.9
    torch.testing.assert_close(method.infer(fond).mean.sum(), torch.ones(()))
