"""Predictive distributions against SciPy, quadrature and long Monte Carlo runs."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from palate.errors import DataError
from palate.predictive import (
    expected_regret,
    joint_margins,
    lower_bound,
    lower_bound_over,
    probability_highest,
    probability_preferred,
    standard_normal,
)
from palate.types import RewardDistribution

CERTAIN = RewardDistribution(torch.tensor([0.5, 2.0, -1.0]), None)


def drawn_rewards(n: int = 5, K: int = 3, seed: int = 0) -> RewardDistribution:
    generator = torch.Generator().manual_seed(seed)
    mean, factor = torch.randn(n, generator=generator), torch.randn(n, K, generator=generator)
    return RewardDistribution(mean, factor)


def long_run(rewards: RewardDistribution, draws: int = 400_000) -> np.ndarray:
    assert rewards.factor is not None
    z = np.random.default_rng(1).standard_normal((draws, rewards.factor.shape[1]))
    return rewards.mean.numpy() + z @ rewards.factor.numpy().T


# -- margins ----------------------------------------------------------------------------------


def test_joint_margins_have_the_moments_of_differences() -> None:
    rewards = drawn_rewards()
    first, second = torch.tensor([0, 1, 2]), torch.tensor([3, 3, 0])
    margins = joint_margins(rewards, first, second)
    drawn = long_run(rewards)
    drawn = drawn[:, first.numpy()] - drawn[:, second.numpy()]
    assert margins.covariance is not None
    np.testing.assert_allclose(margins.mean, drawn.mean(0), atol=0.02)
    np.testing.assert_allclose(margins.covariance, np.cov(drawn.T), atol=0.06)


def test_margins_of_a_method_without_uncertainty_have_none() -> None:
    margins = joint_margins(CERTAIN, torch.tensor([1]), torch.tensor([2]))
    assert margins.covariance is None
    assert margins.mean.tolist() == [3.0]


# -- preference -------------------------------------------------------------------------------


def test_probability_of_preference_against_quadrature() -> None:
    """MacKay's form is within 0.02 of the integral of the sigmoid over the joint margin."""
    rewards = drawn_rewards()
    assert rewards.factor is not None
    found = probability_preferred(rewards)
    for i in range(5):
        for j in range(5):
            sd = float((rewards.factor[i] - rewards.factor[j]).norm())
            mean = float(rewards.mean[i] - rewards.mean[j])
            if i == j:
                assert float(found[i, j]) == 0.5
                continue
            exact, _ = integrate.quad(
                lambda t, mean=mean, sd=sd: stats.norm.pdf(t, mean, sd) / (1 + math.exp(-t)),
                mean - 8 * sd,
                mean + 8 * sd,
            )
            assert float(found[i, j]) == pytest.approx(exact, abs=0.02)


def test_what_two_candidates_share_leaves_their_preference_certain() -> None:
    mean = torch.tensor([1.0, 0.0])
    shared = RewardDistribution(mean, torch.full((2, 1), 1e4))
    assert float(probability_preferred(shared)[0, 1]) == pytest.approx(1 / (1 + math.exp(-1)))


@given(st.integers(0, 1000), st.integers(1, 6), st.integers(1, 4))
def test_opposite_preferences_add_up_to_one(seed: int, n: int, K: int) -> None:
    found = probability_preferred(drawn_rewards(n, K, seed))
    torch.testing.assert_close(found + found.T, torch.ones(n, n))


# -- the best ---------------------------------------------------------------------------------


def test_probability_of_the_highest_of_two_is_the_normal_distribution_function() -> None:
    rewards = RewardDistribution(torch.tensor([0.7, 0.0]), torch.tensor([[1.0, 0.5], [-1.0, 2.0]]))
    expected = stats.norm.cdf(0.7 / math.hypot(2.0, 1.5))
    assert float(probability_highest(rewards)[0]) == pytest.approx(expected, abs=2e-3)


def test_probability_of_the_highest_of_three_is_an_orthant_of_the_multivariate_normal() -> None:
    rewards = drawn_rewards(3, 3, seed=5)
    assert rewards.factor is not None
    found = probability_highest(rewards)
    for i in range(3):
        others = torch.tensor([j for j in range(3) if j != i])
        margins = joint_margins(rewards, others, torch.tensor([i, i]))
        assert margins.covariance is not None
        below = stats.multivariate_normal(margins.mean.numpy(), margins.covariance.numpy())
        assert float(found[i]) == pytest.approx(float(below.cdf(np.zeros(2))), abs=3e-3)
    assert float(found.sum()) == pytest.approx(1, abs=1e-5)


def test_equal_candidates_share_being_the_highest() -> None:
    same = RewardDistribution(torch.zeros(4), torch.ones(4, 2))
    torch.testing.assert_close(probability_highest(same), torch.full((4,), 0.25))


# -- bounds and regret ------------------------------------------------------------------------


def test_bounds_are_undercut_as_often_as_they_say() -> None:
    rewards = drawn_rewards()
    drawn = long_run(rewards)
    for level in (0.05, 0.5, 0.9):
        own = (drawn < lower_bound(rewards, level).numpy()).mean(0)
        np.testing.assert_allclose(own, level, atol=5e-3)
        over = lower_bound_over(rewards, 2, level)
        undercut = (drawn - drawn[:, [2]] < over.numpy()).mean(0)
        np.testing.assert_allclose(np.delete(undercut, 2), level, atol=5e-3)
        assert float(over[2]) == 0


def test_regret_against_a_long_monte_carlo_run() -> None:
    rewards = drawn_rewards()
    drawn = long_run(rewards)
    expected = drawn.max(1, keepdims=True) - drawn
    np.testing.assert_allclose(expected_regret(rewards), expected.mean(0), atol=0.01)


def test_regret_of_two_is_the_expected_positive_part_of_a_normal_margin() -> None:
    rewards = RewardDistribution(torch.tensor([0.3, 0.0]), torch.tensor([[0.0], [2.0]]))
    t = 0.3 / 2.0
    loss = 2.0 * (stats.norm.pdf(t) - t * stats.norm.sf(t))
    found = expected_regret(rewards)
    assert float(found[0]) == pytest.approx(loss, abs=2e-3)
    assert float(found[1] - found[0]) == pytest.approx(0.3, abs=2e-3)


def test_without_uncertainty_the_answers_are_those_of_a_certain_user() -> None:
    assert probability_highest(CERTAIN).tolist() == [0, 1, 0]
    assert expected_regret(CERTAIN).tolist() == [1.5, 0, 3.0]
    assert torch.equal(lower_bound(CERTAIN), CERTAIN.mean)
    assert lower_bound_over(CERTAIN, 0).tolist() == [0, 1.5, -1.5]
    preferred = probability_preferred(CERTAIN)
    assert float(preferred[1, 0]) == pytest.approx(1 / (1 + math.exp(-1.5)))


def test_the_draws_are_the_same_at_each_call() -> None:
    first = standard_normal(3)
    torch.manual_seed(4)
    standard_normal.cache_clear()
    assert torch.equal(first, standard_normal(3))
    np.testing.assert_allclose(first.mean(0), 0, atol=5e-3)
    np.testing.assert_allclose(first.T.cov(), np.eye(3), atol=2e-2)


# -- at the door ------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [0.0, 1.0, -1.0, math.nan])
def test_a_level_is_a_probability(level: float) -> None:
    with pytest.raises(DataError, match="between 0 and 1"):
        lower_bound(drawn_rewards(), level)


@pytest.mark.parametrize("index", [-1, 5])
def test_an_index_of_no_candidate_is_refused(index: int) -> None:
    with pytest.raises(DataError, match="expected 0 to 4"):
        lower_bound_over(drawn_rewards(), index)
    with pytest.raises(DataError, match="expected 0 to 4"):
        joint_margins(drawn_rewards(), torch.tensor([0]), torch.tensor([index]))
