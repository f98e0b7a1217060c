"""A model per user: Newton on the answers' coefficients against scipy's on the weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import optimize, special
from torch import Tensor

from palate.methods import padding
from palate.methods.per_user import PerUser, PerUserSettings
from palate.types import Evidence, PairBatch
from tests.unit.methods.worlds import evidence_of, random_evidence, random_pairs, rows_of

WIDTH = 12
Array = NDArray[np.float64]


def method(ridge: float = 3.0, width: int = WIDTH) -> PerUser:
    return PerUser(PerUserSettings(ridge=ridge), width)


def energy(w: Array, delta: Array, ridge: float) -> float:
    return float(np.logaddexp(0, -(delta @ w)).sum() + ridge / 2 * w @ w)


def best_of(delta: Tensor, ridge: float) -> Array:
    """Weights (D,) by scipy, in the features' space."""
    rows = delta.double().numpy()
    found = optimize.minimize(
        energy,
        np.zeros(rows.shape[1]),
        (rows, ridge),
        jac=lambda w, rows, ridge: ridge * w - rows.T @ special.expit(-rows @ w),
        method="L-BFGS-B",
        options={"ftol": 1e-15, "gtol": 1e-9},
    )
    solution: Array = found.x
    return solution


@pytest.mark.parametrize("ridge", [0.1, 3.0, 100.0])
def test_the_dual_optimum_is_the_primal_one(ridge: float) -> None:
    """Fewer answers than features and more."""
    evidence = random_evidence([1, 5, 12, 70], WIDTH)
    posterior = method(ridge).posterior(evidence)
    for user in range(4):
        best = best_of(rows_of(evidence, user), ridge)
        np.testing.assert_allclose(posterior.mean[user].numpy(), best, rtol=0.01, atol=2e-3)


def test_many_users_are_inferred_as_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Across chunks, and with others' answers beside fewer of one's own."""
    monkeypatch.setattr(padding, "ENTRIES", 200)
    generator = torch.Generator().manual_seed(0)
    counts = torch.randint(0, 20, (60,), generator=generator).tolist()
    evidence = random_evidence(counts, WIDTH, seed=1)
    model = method()
    together = model.posterior(evidence)
    assert together.answers.tolist() == counts
    for user in range(60):
        alone = model.posterior(evidence_of(rows_of(evidence, user)))
        torch.testing.assert_close(together.mean[user], alone.mean[0], rtol=1e-3, atol=1e-4)


def test_a_user_without_answers_has_no_reward() -> None:
    model = method()
    posterior = model.posterior(evidence_of(torch.zeros(0, WIDTH), torch.ones(2, WIDTH)))
    assert torch.equal(posterior.mean[0], torch.zeros(WIDTH))
    rewards = model.reward(posterior[:1], torch.randn(5, WIDTH)).mean
    assert torch.equal(rewards, torch.zeros(5))
    assert bool((posterior.mean[1] > 0).all())


def test_a_large_ridge_leaves_a_step_along_the_mean_difference() -> None:
    """For ridge -> infinity, w = sum delta / (2 ridge): all slopes are one half."""
    evidence = random_evidence([9], WIDTH)
    mean = method(1e5).posterior(evidence).mean
    torch.testing.assert_close(mean, evidence.sums() / 2e5, rtol=1e-3, atol=1e-9)


def test_a_small_ridge_explains_every_answer_that_can_be() -> None:
    evidence = random_evidence([8], WIDTH)
    margin = evidence.rows @ method(1e-3).posterior(evidence).mean[0]
    assert bool((margin > 3).all())


@pytest.mark.parametrize("scale", [1e-4, 1e3])
def test_differences_of_any_size_end_near_the_optimum(scale: float) -> None:
    evidence = random_evidence([6, 30], WIDTH, seed=5)
    evidence = Evidence(scale * evidence.rows, evidence.offsets)
    mean = method().posterior(evidence).mean
    for user in range(2):
        delta = rows_of(evidence, user)
        numbers = delta.double().numpy(), 3.0
        best = energy(best_of(delta, 3.0), *numbers)
        assert energy(mean[user].double().numpy(), *numbers) <= best + 1e-2 * len(delta)


def test_answers_that_contradict_each_other_cancel() -> None:
    delta = torch.randn(1, WIDTH, generator=torch.Generator().manual_seed(0))
    mean = method().posterior(evidence_of(torch.cat([delta, -delta]))).mean
    torch.testing.assert_close(mean, torch.zeros(1, WIDTH), rtol=0, atol=1e-6)


def test_evidence_is_the_standardised_difference() -> None:
    pairs = random_pairs([4, 3], WIDTH)
    pairs = PairBatch(7 * pairs.features + 3, pairs.chosen, pairs.rejected, pairs.offsets)
    model = method()
    model.standardise(pairs)
    rows = model.evidence(pairs)
    raw = pairs.features[pairs.chosen] - pairs.features[pairs.rejected]
    torch.testing.assert_close(rows, raw / raw.square().mean().sqrt())


def test_an_open_ridge_is_the_first_candidate() -> None:
    evidence = random_evidence([5], WIDTH)
    first = PerUserSettings().candidates()[0]
    assert first.ridge is not None
    opened = PerUser(PerUserSettings(), WIDTH).posterior(evidence)
    assert torch.equal(opened.mean, method(first.ridge).posterior(evidence).mean)
