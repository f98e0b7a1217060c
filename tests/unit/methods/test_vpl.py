"""VPL's parts: the set's encoder, the latent's KL and its annealing, slopes of the reward."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from palate.methods import padding
from palate.methods.base import Step
from palate.methods.vpl import VPL, VPLSettings
from palate.types import PairBatch, UserPosterior
from tests.unit.methods.worlds import random_pairs

WIDTH, D = 6, 3


def make(seed: int = 0, **settings: object) -> VPL:
    chosen = VPLSettings(**({"dimensions": D, "hidden": 5, "steps": 100} | settings))  # type: ignore[arg-type]
    method = VPL(chosen, WIDTH)
    method.initialise(random_pairs([4], WIDTH), torch.Generator().manual_seed(seed))
    return method


def step_of(pairs: PairBatch) -> Step:
    """All comparisons of users who have equally many."""
    shape = (pairs.users, -1)
    return Step(
        pairs.features,
        pairs.chosen.view(shape),
        pairs.rejected.view(shape),
        torch.ones(pairs.users, len(pairs) // pairs.users, dtype=pairs.features.dtype),
        torch.arange(pairs.users),
    )


def by_hand(method: VPL, chosen: Tensor, rejected: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and log-variance (d,) of q(z | u), answer by answer: attention written out."""
    encoded = method.pair_encoder(torch.cat([chosen, rejected], dim=-1))
    query, key, value = method.attention(encoded).chunk(3, dim=-1)
    share = (query @ key.T / key.shape[-1] ** 0.5).softmax(-1)
    mean, log_variance = method.latent((encoded + share @ value).mean(0)).chunk(2)
    return mean, log_variance.clamp(-8, 4)


def test_a_user_is_the_mean_of_pairs_that_attend_to_each_other() -> None:
    method = make()
    pairs = random_pairs([5, 2, 9], WIDTH)
    posterior = method.infer(pairs)
    assert posterior.variance is not None
    for user in range(3):
        own = slice(int(pairs.offsets[user]), int(pairs.offsets[user + 1]))
        chosen, rejected = (pairs.features[rows[own]] for rows in (pairs.chosen, pairs.rejected))
        with torch.no_grad():
            mean, log_variance = by_hand(method, chosen, rejected)
        torch.testing.assert_close(posterior.mean[user], mean, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(posterior.variance[user], log_variance.exp(), rtol=1e-4, atol=0)


def test_padding_is_not_attended_to() -> None:
    """Whatever stands past a user's last pair."""
    method = make()
    encoded = torch.randn(2, 6, 5, generator=torch.Generator().manual_seed(1))
    present = torch.tensor([[1.0, 1, 1, 0, 0, 0], [1.0, 1, 1, 1, 1, 1]])
    noisy = encoded.clone()
    noisy[0, 3:] = 1e3
    for one, other in zip(
        method._join(encoded, present), method._join(noisy, present), strict=True
    ):
        torch.testing.assert_close(one, other)
    alone, _ = method._join(encoded[:1, :3], torch.ones(1, 3))
    together, _ = method._join(encoded, present)
    torch.testing.assert_close(together[0], alone[0])


def test_order_of_answers_is_nothing() -> None:
    method = make()
    pairs = random_pairs([8], WIDTH)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(2))
    shuffled = replace(pairs, chosen=pairs.chosen[order], rejected=pairs.rejected[order])
    one, other = method.infer(pairs), method.infer(shuffled)
    torch.testing.assert_close(one.mean, other.mean)
    torch.testing.assert_close(one.variance, other.variance)


def test_no_answers_are_the_prior(monkeypatch: pytest.MonkeyPatch) -> None:
    posterior = make().infer(random_pairs([0, 3, 0], WIDTH))
    assert posterior.variance is not None
    for user in (0, 2):
        assert torch.equal(posterior.mean[user], torch.zeros(D))
        assert torch.equal(posterior.variance[user], torch.ones(D))
    assert bool(posterior.mean[1].any())
    monkeypatch.setattr(padding, "ENTRIES", 1)
    assert not make().infer(random_pairs([0, 0], WIDTH)).mean.any()


def test_slopes_are_those_of_autograd() -> None:
    method = make().double()
    generator = torch.Generator().manual_seed(3)
    read = 2 * torch.randn(6, 5, generator=generator).double()
    z = torch.randn(6, D, generator=generator).double().requires_grad_()
    method.temperature.fill_(1.7)
    rewards, slopes = method._slopes(read, z)
    expected = torch.autograd.grad(rewards.sum(), z)[0]
    torch.testing.assert_close(slopes, expected)
    torch.testing.assert_close(rewards, method._rewards(read, z))


def test_a_margins_variance_is_that_of_draws_of_a_narrow_latent() -> None:
    """To first order: against rewards of sampled z."""
    method = make()
    method.temperature.fill_(2.0)
    pairs = random_pairs([4], WIDTH)
    posterior = UserPosterior(torch.randn(1, D), torch.full((1, D), 1e-4), torch.tensor([4]))
    margins = method.margins(posterior, pairs)
    assert posterior.variance is not None
    assert margins.variance is not None
    generator = torch.Generator().manual_seed(4)
    z = posterior.mean + 1e-2 * torch.randn(20_000, D, generator=generator)
    with torch.no_grad():
        read = method._read(pairs.features)
        drawn = method._rewards(read[pairs.chosen][:, None], z) - method._rewards(
            read[pairs.rejected][:, None], z
        )
    torch.testing.assert_close(margins.mean, drawn.mean(1), rtol=0.02, atol=1e-3)
    torch.testing.assert_close(margins.variance, drawn.var(1), rtol=0.06, atol=1e-7)


def test_spread_scales_the_variance_alone() -> None:
    method = make()
    pairs = random_pairs([4], WIDTH)
    posterior = method.infer(pairs)
    before = method.margins(posterior, pairs)
    method.spread.fill_(0.25)
    after = method.margins(posterior, pairs)
    assert before.variance is not None
    assert after.variance is not None
    torch.testing.assert_close(after.mean, before.mean)
    torch.testing.assert_close(after.variance, before.variance / 4)


def test_the_kl_is_the_closed_form_by_torchs_distributions(monkeypatch: pytest.MonkeyPatch) -> None:
    """With and without: the loss differs by kl times KL(q || N(0, I)) of the references' q."""
    pairs = random_pairs([6] * 3, WIDTH)
    seen: list[tuple[Tensor, Tensor]] = []
    join = VPL._join

    def watched(self: VPL, encoded: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        seen.append(join(self, encoded, present))
        return seen[-1]

    monkeypatch.setattr(VPL, "_join", watched)
    losses = [
        make(kl=kl, anneal=0.0).loss(step_of(pairs), torch.Generator().manual_seed(1))
        for kl in (0.5, 0.0)
    ]
    mean, log_variance = seen[0]
    q = torch.distributions.Normal(mean, (log_variance / 2).exp())
    kl = torch.distributions.kl_divergence(q, torch.distributions.Normal(0.0, 1.0))
    expected = 0.5 * kl.sum(-1).mean()
    assert float(expected.detach()) > 0.01
    torch.testing.assert_close(losses[0] - losses[1], expected, rtol=1e-3, atol=1e-5)


def test_the_kls_weight_rises_evenly_and_stays() -> None:
    method = make(kl=2.0, anneal=0.5, steps=20)
    weights = [method._kl_weight() for _ in range(20)]
    np.testing.assert_allclose(weights[:10], 2 * np.arange(1, 11) / 10)
    assert weights[10:] == [2.0] * 10
    method.initialise(random_pairs([2], WIDTH), torch.Generator())
    assert method._kl_weight() == weights[0]  # a new start begins again
    assert make(kl=2.0, anneal=0.0)._kl_weight() == 2.0


def test_the_loss_reaches_every_parameter() -> None:
    method = make(anneal=0.0)
    loss = method.loss(step_of(random_pairs([8] * 4, WIDTH)), torch.Generator().manual_seed(0))
    loss.backward()  # type: ignore[no-untyped-call]
    for name, parameter in method.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.any()), name


def test_a_target_says_nothing_of_its_user() -> None:
    """Users who answered one pair only: the encoder of pairs learns nothing of it."""
    method = make(kl=0.0)
    pairs = random_pairs([6], WIDTH)
    same = replace(pairs, chosen=torch.zeros(6).long(), rejected=torch.ones(6).long())
    loss = method.loss(step_of(same), torch.Generator().manual_seed(0))
    loss.backward()  # type: ignore[no-untyped-call]
    gradient = method.pair_encoder.first.weight.grad
    assert gradient is None or not gradient.any()


def test_users_of_one_comparison_train_under_the_prior() -> None:
    """Half of one is no reference: z comes from N(0, I)."""
    method = make()
    pairs = random_pairs([1, 1, 1], WIDTH)
    loss = method.loss(step_of(pairs), torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(0)
    torch.randint(1, 2, (), generator=generator)
    z = torch.randn(3, D, generator=generator)
    read = method._read(pairs.features)
    margin = method._rewards(read[pairs.chosen], z) - method._rewards(read[pairs.rejected], z)
    torch.testing.assert_close(loss, -F.logsigmoid(margin).mean())
