"""The mode against scipy's, the Hessian against finite differences, the covariance on a grid."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import optimize

from palate.methods.laplace import logistic_mode
from palate.types import Evidence
from tests.unit.methods.worlds import evidence_of, random_evidence, rows_of

Array = NDArray[np.float64]

MEAN = torch.tensor([0.5, -1.0, 0.2])
PRECISION = torch.tensor([[2.0, 0.3, 0.0], [0.3, 1.0, -0.2], [0.0, -0.2, 0.5]])


def energy(v: Array, delta: Array, mean: Array, precision: Array) -> float:
    """Minus the logarithm of the unnormalised posterior, written out answer by answer."""
    away = v - mean
    loss = sum(np.logaddexp(0.0, -float(v @ row)) for row in delta)
    return float(loss + away @ precision @ away / 2)


def slope(v: Array, delta: Array, mean: Array, precision: Array) -> Array:
    pulls = [-row / (1 + np.exp(np.clip(v @ row, -700, 700))) for row in delta]
    return np.sum(pulls, axis=0) + precision @ (v - mean)


def as_numbers(evidence: Evidence, user: int) -> tuple[Array, Array, Array]:
    return tuple(  # type: ignore[return-value]
        table.double().numpy() for table in (rows_of(evidence, user), MEAN, PRECISION)
    )


def test_each_mode_is_scipys() -> None:
    evidence = random_evidence([1, 7, 40, 3], 3)
    mode = logistic_mode(evidence, MEAN, PRECISION)
    for user in range(4):
        numbers = as_numbers(evidence, user)
        best = optimize.minimize(
            energy, numbers[1], numbers, jac=slope, method="L-BFGS-B", options={"ftol": 1e-15}
        )
        np.testing.assert_allclose(mode.mean[user].numpy(), best.x, atol=1e-4)


def test_the_hessian_is_that_of_finite_differences() -> None:
    evidence = random_evidence([5, 20], 3, seed=1)
    mode = logistic_mode(evidence, MEAN, PRECISION)
    for user in range(2):
        numbers = as_numbers(evidence, user)
        at, h = mode.mean[user].double().numpy(), 1e-4
        steps = h * np.eye(3)
        expected = [
            [
                sum(
                    i * j * energy(at + i * one + j * other, *numbers)
                    for i in (1, -1)
                    for j in (1, -1)
                )
                / (4 * h * h)
                for other in steps
            ]
            for one in steps
        ]
        np.testing.assert_allclose(mode.hessian[user].numpy(), expected, rtol=1e-4, atol=1e-5)


def test_no_answers_are_the_prior_itself() -> None:
    evidence = evidence_of(torch.zeros(0, 3), torch.ones(2, 3), torch.zeros(0, 3))
    mode = logistic_mode(evidence, MEAN, PRECISION)
    for user in (0, 2):
        assert torch.equal(mode.mean[user], MEAN)
        torch.testing.assert_close(mode.hessian[user].float(), PRECISION)
        torch.testing.assert_close(mode.covariance[user], torch.linalg.inv(PRECISION))
    assert not torch.equal(mode.mean[1], MEAN)


def test_a_prior_of_each_user() -> None:
    """m (U, d): as if each were inferred with the own one alone."""
    evidence = random_evidence([4, 6], 3)
    priors = torch.stack([MEAN, -3 * MEAN])
    together = logistic_mode(evidence, priors, PRECISION)
    for user in range(2):
        alone = logistic_mode(evidence_of(rows_of(evidence, user)), priors[user], PRECISION)
        torch.testing.assert_close(together.mean[user], alone.mean[0], rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(
            together.covariance[user], alone.covariance[0], rtol=1e-3, atol=1e-4
        )


@pytest.mark.parametrize("count", [1, 50, 500])
def test_separable_answers_have_a_mode(count: int) -> None:
    """Likelihood alone would send v to infinity: the prior holds it where the slope is zero."""
    delta = torch.tensor([[1.0, 0.0]]).repeat(count, 1)
    mode = logistic_mode(evidence_of(delta), torch.zeros(2), torch.eye(2))
    v = float(mode.mean[0, 0])
    assert v == pytest.approx(count / (1 + np.exp(v)), rel=1e-4)
    assert float(mode.mean[0, 1]) == 0.0


@pytest.mark.parametrize("size", [1e2, 1e4, 1e6])
def test_huge_differences_do_not_overshoot(size: float) -> None:
    """One answer, and two that contradict each other, whose mode is zero by symmetry."""
    one = torch.tensor([[size, 0.0]])
    mode = logistic_mode(evidence_of(one, torch.cat([one, -one])), torch.zeros(2), torch.eye(2))
    # v = delta sigmoid(-v delta), so margin = delta^2 sigmoid(-margin)
    margin = optimize.brentq(lambda m: m - size**2 / (1 + np.exp(m)), 0, 100)
    numbers = one.double().numpy(), np.zeros(2), np.eye(2)
    best = energy(np.array([margin / size, 0.0]), *numbers)
    assert energy(mode.mean[0].double().numpy(), *numbers) == pytest.approx(best, abs=1e-6)
    assert torch.equal(mode.mean[1], torch.zeros(2))
    assert float(mode.covariance[1, 0, 0]) == pytest.approx(1 / (1 + size**2 / 2), rel=1e-4)
    assert bool((mode.covariance.diagonal(dim1=1, dim2=2) > 0).all())


@pytest.mark.parametrize(("size", "known"), [(1.0, 1.0), (30.0, 0.03), (100.0, 0.1)])
def test_a_prior_that_says_little_and_that_huge_differences_contradict(
    size: float, known: float
) -> None:
    """A full step from the prior's mean goes many thousand times too far."""
    delta = size * random_evidence([40], 8, seed=4).rows
    mode = logistic_mode(evidence_of(delta), torch.ones(8), known * torch.eye(8))
    at = mode.mean[0].double().numpy()
    left = slope(at, delta.double().numpy(), np.ones(8), known * np.eye(8))
    assert left @ np.linalg.solve(mode.hessian[0].numpy(), left) / 2 < 1e-6  # nats


@pytest.mark.parametrize("size", [1e3, 1e5])
def test_a_contradiction_between_axes_has_a_covariance(size: float) -> None:
    """By Sherman and Morrison: nothing is learned across the one difference, all along it."""
    delta = size * torch.tensor([[1.0, 2.0, -3.0]])
    mode = logistic_mode(evidence_of(torch.cat([delta, -delta])), torch.zeros(3), torch.eye(3))
    outer = (delta.T @ delta).double() / 2
    expected = torch.eye(3).double() - outer / (1 + outer.trace())
    torch.testing.assert_close(mode.covariance[0].double(), expected, rtol=1e-3, atol=1e-5)


def test_huge_differences_in_many_directions() -> None:
    evidence = random_evidence([6, 30], 3, seed=2)
    rows = evidence.rows * torch.tensor([1e3, 1.0, 1e-3])
    mode = logistic_mode(Evidence(rows, evidence.offsets), torch.zeros(3), torch.eye(3))
    for user in range(2):
        delta = rows_of(Evidence(rows, evidence.offsets), user).double().numpy()
        at = mode.mean[user].double().numpy()
        best = optimize.minimize(
            energy, at, (delta, np.zeros(3), np.eye(3)), jac=slope, method="BFGS"
        )
        assert energy(at, delta, np.zeros(3), np.eye(3)) <= best.fun + 1e-4


def test_the_covariance_is_near_that_of_a_grid() -> None:
    """Laplace's approximation of a posterior of two dimensions, against its sum over a grid."""
    evidence = random_evidence([25], 2, seed=4)
    mode = logistic_mode(evidence, torch.zeros(2), torch.eye(2))
    axis = np.linspace(-5, 5, 401)
    v = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
    margin = v @ evidence.rows.double().numpy().T
    log_density = -np.logaddexp(0, -margin).sum(1) - (v**2).sum(1) / 2
    density = np.exp(log_density - log_density.max())
    density /= density.sum()
    mean = density @ v
    covariance = (v - mean).T @ ((v - mean) * density[:, None])
    np.testing.assert_allclose(mode.mean[0].numpy(), mean, atol=0.25 * covariance.max() ** 0.5)
    np.testing.assert_allclose(mode.covariance[0].numpy(), covariance, rtol=0.25, atol=0.02)


@given(
    counts=st.lists(st.integers(0, 6), min_size=1, max_size=5),
    scale=st.sampled_from([1e-3, 1.0, 30.0]),
    seed=st.integers(0, 1000),
)
def test_every_user_is_at_rest_and_alone(counts: list[int], scale: float, seed: int) -> None:
    """The gradient vanishes, and no other user moves a mode."""
    evidence = random_evidence(counts, 3, seed)
    evidence = Evidence(scale * evidence.rows, evidence.offsets)
    mode = logistic_mode(evidence, MEAN, PRECISION)
    for user in range(len(counts)):
        numbers = as_numbers(evidence, user)
        at = mode.mean[user].double().numpy()
        # A decrement g H^-1 g / 2 of 1e-8, with float32's rounding of the mode.
        gradient = slope(at, *numbers)
        decrement = gradient @ mode.covariance[user].double().numpy() @ gradient / 2
        assert decrement < 1e-6
        alone = logistic_mode(evidence_of(rows_of(evidence, user)), MEAN, PRECISION)
        torch.testing.assert_close(mode.mean[user], alone.mean[0], rtol=1e-3, atol=1e-4)
