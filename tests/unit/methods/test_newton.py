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
from palate.methods.newton import ModeOfOne, forecast, mode_of_one
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


def logistic(margin: Array) -> Array:
    found: Array = 1 / (1 + np.exp(-np.clip(margin, -700, 700)))
    return found


@given(count=st.integers(0, 30), scale=st.sampled_from([1e-3, 1.0, 10.0]), seed=st.integers(0, 500))
def test_it_is_the_batchs(count: int, scale: float, seed: int) -> None:
    """Mode to 1e-6 and covariance to 3e-6, from the prior's mean and from far away."""
    delta, weight = one_user(count, scale, seed)
    rows, weights = torch.from_numpy(delta).float(), torch.from_numpy(weight).float()
    evidence = Evidence(rows, torch.tensor([0, count]), weights)
    mean, precision = torch.from_numpy(MEAN), torch.from_numpy(PRECISION)
    batch = logistic_mode(evidence, mean, precision)
    covariance = np.linalg.inv(batch.hessian[0].numpy())
    for start in (None, MEAN + 3.0, 40.0 * np.ones(3)):
        mode = mode_of_one(delta, weight, MEAN, PRECISION, start)
        np.testing.assert_allclose(mode.at, batch.mean[0].numpy(), rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(mode.covariance, covariance, rtol=1e-5, atol=3e-6)


@pytest.mark.parametrize("count", [1, 7, 40])
def test_it_is_scipys(count: int) -> None:
    delta, weight = one_user(count, 2.0, seed=count)
    best = optimize.minimize(
        energy, MEAN, (delta, weight), jac=slope, method="BFGS", options={"gtol": 1e-9}
    )
    mode = mode_of_one(delta, weight, MEAN, PRECISION)
    np.testing.assert_allclose(mode.at, best.x, atol=1e-6)
    hessian = optimize.approx_fprime(mode.at, slope, 1e-6, delta, weight)
    np.testing.assert_allclose(mode.covariance @ hessian, np.eye(3), atol=1e-4)


@pytest.mark.parametrize("count", [1, 7, 40])
def test_bends_are_halves_of_third_derivatives(count: int) -> None:
    delta, weight = one_user(count, 2.0, seed=count)
    mode = mode_of_one(delta, weight, MEAN, PRECISION)
    margin, small = delta @ mode.at, 1e-4

    def second(margin: Array) -> Array:
        return weight * logistic(margin) * logistic(-margin)

    third = (second(margin + small) - second(margin - small)) / (2 * small)
    np.testing.assert_allclose(mode.bend, third / 2, atol=0.01)  # from near the mode


def test_no_answers_are_the_prior() -> None:
    mode = mode_of_one(np.zeros((0, 3)), np.zeros(0), MEAN, PRECISION)
    np.testing.assert_array_equal(mode.at, MEAN)
    np.testing.assert_array_equal(mode.covariance, np.linalg.inv(PRECISION))
    assert mode.bend.shape == (0,)


@pytest.mark.parametrize("size", [1e2, 1e4, 1e6])
@pytest.mark.parametrize("start", [0.0, 1.0, -50.0])
def test_huge_differences_do_not_overshoot(size: float, start: float) -> None:
    """The mode of one answer is where margin = size^2 sigmoid(-margin); its energy is reached."""
    delta = np.array([[size, 0.0]])
    mode = mode_of_one(delta, np.ones(1), np.zeros(2), np.eye(2), np.full(2, start))
    margin = optimize.brentq(lambda m: m - size**2 / (1 + np.exp(m)), 0, 100)

    def nats(v: Array) -> float:
        return float(np.logaddexp(0, -size * v[0]) + v @ v / 2)

    assert nats(mode.at) == pytest.approx(nats(np.array([margin / size, 0.0])), abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_a_start_far_beyond_leads_to_the_mode(seed: int) -> None:
    """Where every answer is sure the curvature is the prior's alone, and steps are far too long."""
    delta, weight = one_user(13, 10.0, seed)
    mode = mode_of_one(delta, weight, MEAN, PRECISION).at
    for start in (40.0, -1e3):
        again = mode_of_one(delta, weight, MEAN, PRECISION, np.full(3, start)).at
        np.testing.assert_allclose(again, mode, atol=1e-6)
        assert np.abs(slope(again, delta, weight)).max() < 1e-4


def test_a_start_at_the_mode_stays() -> None:
    delta, weight = one_user(20, 1.0, seed=0)
    near = mode_of_one(delta, weight, MEAN, PRECISION)
    mode = mode_of_one(delta, weight, MEAN, PRECISION, near.at)
    np.testing.assert_allclose(near.at, mode.at, atol=1e-7)
    again = mode_of_one(delta, weight, MEAN, PRECISION, mode.at)
    np.testing.assert_allclose(again.at, mode.at, atol=1e-12)
    np.testing.assert_allclose(again.covariance, mode.covariance, atol=1e-10)


def alone(mode: Array) -> ModeOfOne:
    """A Gaussian without answers behind it."""
    return ModeOfOne(mode, np.linalg.inv(PRECISION), np.zeros(0))


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
    assert nats(forecast(alone(mode), row[None], np.array([weight]))) <= best.fun + 0.01


@pytest.mark.parametrize("size", [1e4, 1e8])
def test_one_more_answer_of_any_size_leaves_numbers(size: float) -> None:
    for at in (np.zeros(3), np.full(3, 1e3), np.full(3, -1e3)):
        row = np.array([[size, -2 * size, 0.0]])
        assert np.isfinite(forecast(alone(at), row, np.ones(1))).all()


@given(seed=st.integers(0, 300), moved=st.floats(-0.3, 0.3))
def test_a_forecast_is_near_the_mode(seed: int, moved: float) -> None:
    """Of the way to the mode with one more answer and with another prior, little is left."""
    delta, weight = one_user(20, 1.0, seed)
    mean = MEAN + moved * np.array([1.0, 0.0, -1.0])
    before = mode_of_one(delta[:-1], weight[:-1], MEAN, PRECISION)
    after = mode_of_one(delta, weight, mean, PRECISION)
    shift = before.covariance @ PRECISION @ (mean - MEAN)
    found = forecast(before, delta, weight, shift)
    way = np.abs(delta @ (after.at - before.at)).max()
    assert np.abs(delta @ (after.at - found)).max() <= 0.3 * way**2 + 1e-6


def test_a_forecast_of_an_answer_that_counts_nothing_stays() -> None:
    delta, weight = one_user(8, 1.0, seed=1)
    before = mode_of_one(delta[:-1], weight[:-1], MEAN, PRECISION)
    weight[-1] = 0.0
    np.testing.assert_array_equal(forecast(before, delta, weight), before.at)
