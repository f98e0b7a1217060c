"""One user's mode against the batch's and against scipy's, from any start."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import optimize

from palate.methods.laplace import logistic_mode
from palate.methods.newton import mode_of_one, with_answer
from palate.types import Evidence

Array = NDArray[np.float64]

MEAN = np.array([0.5, -1.0, 0.2])
PRECISION = np.array([[2.0, 0.3, 0.0], [0.3, 1.0, -0.2], [0.0, -0.2, 0.5]])


def energy(v: Array, delta: Array, weight: Array) -> float:
    away = v - MEAN
    loss = sum(w * np.logaddexp(0, -float(v @ row)) for w, row in zip(weight, delta, strict=True))
    return float(loss + away @ PRECISION @ away / 2)


def slope(v: Array, delta: Array, weight: Array) -> Array:
    pulls = [
        -w * row / (1 + np.exp(np.clip(v @ row, -700, 700)))
        for w, row in zip(weight, delta, strict=True)
    ]
    total: Array = np.sum([*pulls, PRECISION @ (v - MEAN)], axis=0)
    return total


def one_user(count: int, scale: float, seed: int) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    rows = (scale * rng.normal(size=(count, 3))).astype(np.float32)
    return rows.astype(np.float64), rng.random(count).astype(np.float32).astype(np.float64)


@given(count=st.integers(0, 30), scale=st.sampled_from([1e-3, 1.0, 10.0]), seed=st.integers(0, 500))
def test_it_is_the_batchs(count: int, scale: float, seed: int) -> None:
    """Mode and Hessian to 1e-6, from the prior's mean and from far away."""
    delta, weight = one_user(count, scale, seed)
    rows, weights = torch.from_numpy(delta).float(), torch.from_numpy(weight).float()
    evidence = Evidence(rows, torch.tensor([0, count]), weights)
    mean, precision = torch.from_numpy(MEAN), torch.from_numpy(PRECISION)
    batch = logistic_mode(evidence, mean, precision)
    for start in (None, MEAN + 3.0, 40.0 * np.ones(3)):
        mode, hessian = mode_of_one(delta, weight, MEAN, PRECISION, start)
        np.testing.assert_allclose(mode, batch.mean[0].numpy(), rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(hessian, batch.hessian[0].numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("count", [1, 7, 40])
def test_it_is_scipys(count: int) -> None:
    delta, weight = one_user(count, 2.0, seed=count)
    best = optimize.minimize(
        energy, MEAN, (delta, weight), jac=slope, method="BFGS", options={"gtol": 1e-9}
    )
    mode, hessian = mode_of_one(delta, weight, MEAN, PRECISION)
    np.testing.assert_allclose(mode, best.x, atol=1e-6)
    numeric = optimize.approx_fprime(mode, slope, 1e-6, delta, weight)
    np.testing.assert_allclose(hessian, numeric, atol=1e-4)


def test_no_answers_are_the_prior() -> None:
    mode, hessian = mode_of_one(np.zeros((0, 3)), np.zeros(0), MEAN, PRECISION)
    np.testing.assert_array_equal(mode, MEAN)
    np.testing.assert_array_equal(hessian, PRECISION)


@pytest.mark.parametrize("size", [1e2, 1e4, 1e6])
@pytest.mark.parametrize("start", [0.0, 1.0, -50.0])
def test_huge_differences_do_not_overshoot(size: float, start: float) -> None:
    """The mode of one answer is where margin = size^2 sigmoid(-margin); its energy is reached."""
    delta = np.array([[size, 0.0]])
    mode, _ = mode_of_one(delta, np.ones(1), np.zeros(2), np.eye(2), np.full(2, start))
    margin = optimize.brentq(lambda m: m - size**2 / (1 + np.exp(m)), 0, 100)

    def nats(v: Array) -> float:
        return float(np.logaddexp(0, -size * v[0]) + v @ v / 2)

    assert nats(mode) == pytest.approx(nats(np.array([margin / size, 0.0])), abs=1e-6)


def test_a_start_at_the_mode_stays() -> None:
    delta, weight = one_user(20, 1.0, seed=0)
    mode, hessian = mode_of_one(delta, weight, MEAN, PRECISION)
    again, same = mode_of_one(delta, weight, MEAN, PRECISION, mode)
    np.testing.assert_allclose(again, mode, atol=1e-12)
    np.testing.assert_allclose(same, hessian, atol=1e-10)


@given(scale=st.sampled_from([0.1, 1.0, 3.0]), weight=st.floats(0, 1), seed=st.integers(0, 300))
def test_one_more_answer_is_joined_to_a_gaussian(scale: float, weight: float, seed: int) -> None:
    """The start is the mode of N(mode, C) and one answer, by scipy in one dimension."""
    rng = np.random.default_rng(seed)
    mode, row = rng.normal(size=3), scale * rng.normal(size=3)
    covariance = np.linalg.inv(PRECISION)

    def nats(v: Array) -> float:
        loss = weight * np.logaddexp(0, -v @ row)
        return float(loss + (v - mode) @ PRECISION @ (v - mode) / 2)

    best = optimize.minimize_scalar(
        lambda share: nats(mode + share * covariance @ row), bounds=(-1, 2)
    )
    assert nats(with_answer(mode, covariance, row, weight)) <= best.fun + 0.01


@pytest.mark.parametrize("size", [1e4, 1e8])
def test_one_more_answer_of_any_size_leaves_numbers(size: float) -> None:
    for mode in (np.zeros(2), np.full(2, 1e3), np.full(2, -1e3)):
        moved = with_answer(mode, np.eye(2), np.array([size, -2 * size]), 1.0)
        assert np.isfinite(moved).all()
