"""PReF: how it starts, what its regulariser does, and a new user's mode."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import linalg, optimize

from palate.methods.base import Step
from palate.methods.pref import PReF, PReFSettings
from palate.training import fit
from palate.types import PairBatch
from tests.unit.methods.worlds import evidence_of, random_evidence, random_pairs, rows_of

WIDTH, K = 6, 2


def make(pairs: PairBatch, **settings: object) -> PReF:
    method = PReF(PReFSettings(**({"bases": K} | settings)), WIDTH)  # type: ignore[arg-type]
    method.standardise(pairs)
    method.initialise(pairs, torch.Generator().manual_seed(0))
    return method


def shared(users: int = 40, seed: int = 0) -> tuple[PairBatch, np.ndarray]:
    """Users of two tastes in planted directions (D, 2) who all answer the same 30 pairs."""
    rng = np.random.default_rng(seed)
    texts, axes = rng.normal(size=(60, WIDTH)), np.linalg.qr(rng.normal(size=(WIDTH, K)))[0]
    rewards = 3 * rng.normal(size=(users, K)) @ (texts @ axes).T
    first, second = np.arange(0, 60, 2), np.arange(1, 60, 2)
    better = rng.random((users, 30)) < 1 / (1 + np.exp(rewards[:, second] - rewards[:, first]))
    chosen, rejected = np.where(better, first, second), np.where(better, second, first)
    return (
        PairBatch(
            torch.from_numpy(texts).float(),
            torch.from_numpy(chosen.ravel()),
            torch.from_numpy(rejected.ravel()),
            torch.arange(0, 30 * users + 1, 30),
        ),
        axes,
    )


def apart() -> PairBatch:
    """No pair has two users."""
    pairs = random_pairs([10, 10, 10], WIDTH, texts=60)
    rows = torch.arange(60).view(30, 2)
    return replace(pairs, chosen=rows[:, 0], rejected=rows[:, 1])


@pytest.mark.parametrize(
    ("start", "pairs", "expected"),
    [
        ("svd", shared()[0], "svd"),
        ("svd", apart(), "pca"),
        ("pca", shared()[0], "pca"),
        ("random", shared()[0], "random"),
    ],
    ids=["svd", "svd without shared pairs", "pca", "random"],
)
def test_the_start_is_told(start: str, pairs: PairBatch, expected: str) -> None:
    method = make(pairs, start=start)
    assert method.diagnostics(method.infer(pairs)) == {"start": expected}


def test_the_start_is_told_of_a_trained_method_too() -> None:
    settings = PReFSettings(bases=K, steps=2, weight_decay=0.0)
    for pairs, expected in ((shared()[0], "svd"), (apart(), "pca")):
        method = fit(PReF, settings, pairs, seed=0).method
        assert method.diagnostics(method.infer(pairs)) == {"start": expected}
        again = PReF(settings, WIDTH)
        again.initialise(pairs, torch.Generator())
        again.finish(pairs)
        again.load_state_dict(method.state_dict())
        assert again.diagnostics(again.infer(pairs)) == {"start": expected}


def test_answers_start_the_bases_in_the_planted_directions() -> None:
    pairs, axes = shared(users=200)
    angles = {}
    for start in ("svd", "random"):
        head = make(pairs, start=start).head.weight.detach().double().numpy()
        angles[start] = np.degrees(linalg.subspace_angles(head.T, axes).max())
    assert angles["svd"] < 35 < angles["random"]


def test_the_start_by_answers_orders_most_of_them() -> None:
    pairs, _ = shared()
    method = make(pairs)
    assert method.users is not None
    margin = (method.users[pairs.user] * method.evidence(pairs)).sum(-1)
    assert float((margin > 0).float().mean()) > 0.8
    random = make(pairs, start="random")
    assert random.users is not None
    margin = (random.users[pairs.user] * random.evidence(pairs)).sum(-1)
    assert float((margin > 0).float().mean()) < 0.65


def test_principal_axes_are_those_of_the_differences() -> None:
    pairs = apart()
    pairs = replace(pairs, features=pairs.features * torch.tensor([9.0, 1, 1, 5, 1, 1]))
    head = make(pairs).head.weight.detach().abs()
    assert head.argmax(1).tolist() == [0, 3]
    torch.testing.assert_close(head.norm(dim=1), torch.full((K,), WIDTH**-0.5))


def test_more_bases_than_features_start_all_the_same() -> None:
    method = make(apart(), bases=WIDTH + 3)
    assert bool(torch.isfinite(method.head.weight).all())
    assert bool((method.head.weight.detach().norm(dim=1) > 0).all())


def test_a_larger_l2_shrinks_every_user() -> None:
    evidence = random_evidence([3, 10, 40], K)
    pairs = apart()
    sizes = [
        make(pairs, l2=l2).posterior(evidence).mean.norm(dim=1) for l2 in (0.0, 0.1, 1.0, 10.0)
    ]
    for larger, smaller in pairwise(sizes):
        assert bool((smaller < larger).all())


def test_a_user_is_the_mode_of_equation_6() -> None:
    evidence = random_evidence([7, 25], K)
    posterior = make(apart(), l2=0.7).posterior(evidence)
    assert posterior.covariance is not None
    for user in range(2):
        delta = rows_of(evidence, user).double().numpy()

        def energy(v: np.ndarray, delta: np.ndarray = delta) -> float:
            return float(np.logaddexp(0, -delta @ v).sum() + 0.35 * v @ v)

        best = optimize.minimize(energy, np.zeros(K), method="BFGS")
        np.testing.assert_allclose(posterior.mean[user].numpy(), best.x, atol=1e-3)
        chance = 1 / (1 + np.exp(-delta @ best.x))
        hessian = (delta * (chance * (1 - chance))[:, None]).T @ delta + 0.7 * np.eye(K)
        np.testing.assert_allclose(
            posterior.covariance[user].numpy(), np.linalg.inv(hessian), rtol=1e-2, atol=1e-4
        )
    diagonal = posterior.covariance.diagonal(dim1=1, dim2=2)
    torch.testing.assert_close(posterior.variance, diagonal)


def test_without_answers_every_candidate_ties() -> None:
    pairs = apart()
    method = make(pairs, l2=2.0)
    nobody = method.posterior(evidence_of(torch.zeros(0, K)))
    assert torch.equal(nobody.mean, torch.zeros(1, K))
    assert nobody.covariance is not None
    torch.testing.assert_close(nobody.covariance[0], torch.eye(K) / 2)
    one = replace(pairs, offsets=torch.tensor([0, len(pairs)]))
    margins = method.margins(nobody, one)
    assert not margins.mean.any()
    assert margins.variance is not None
    assert bool((margins.variance > 0).all())
    assert not margins.logit.any()


def test_the_loss_is_equation_5() -> None:
    """Joint -log likelihood and, of each user drawn, l2 / 2 |lambda|^2 a comparison of the own."""
    pairs = random_pairs([4, 8], WIDTH)
    method = make(pairs, l2=3.0, start="random")
    assert method.users is not None
    chosen, rejected = pairs.chosen[:4].view(1, 4), pairs.rejected[:4].view(1, 4)
    step = Step(pairs.features, chosen, rejected, torch.ones(1, 4), torch.tensor([1]))
    user = method.users[1]
    delta = method.head((pairs.features[chosen[0]] - pairs.features[rejected[0]]) * method.scale[1])
    expected = torch.log1p(torch.exp(-delta @ user)).mean() + 1.5 * user @ user / 8
    torch.testing.assert_close(method.loss(step, torch.Generator()), expected)


def test_users_are_forgotten_after_training() -> None:
    pairs = apart()
    method = make(pairs)
    method.finish(pairs)
    assert method.users is None
    assert set(method.state_dict()) == set(PReF(PReFSettings(bases=K), WIDTH).state_dict())


def test_spread_scales_what_is_not_known() -> None:
    pairs = apart()
    method = make(pairs)
    posterior = method.infer(pairs)
    before = method.margins(posterior, pairs)
    method.spread.fill_(0.5)
    after = method.margins(posterior, pairs)
    assert before.variance is not None
    assert after.variance is not None
    torch.testing.assert_close(after.variance, before.variance / 2)
    torch.testing.assert_close(after.mean, before.mean)
