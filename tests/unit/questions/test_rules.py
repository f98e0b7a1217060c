"""What a question is worth, against quadrature, sampling and what must hold."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from palate.questions.rules import RULES, ellipsoid, eubo, information, slope
from tests.unit.questions.worlds import exact_information, sigmoid

SCORED = sorted(name for name, rule in RULES.items() if rule is not None)
MEANS = st.floats(-30, 30, width=32)
VARIANCES = st.floats(0, 400, width=32)


def both(mean: float, variance: float) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor([mean]), torch.tensor([variance])


def test_information_against_quadrature() -> None:
    """The sums of Gaussians are within 1e-4 nats of 200 nodes, over the whole range that occurs."""
    mean, sd = torch.meshgrid(torch.linspace(-12, 12, 97), torch.linspace(0, 6, 61), indexing="ij")
    found = information(mean, sd.square())
    exact = exact_information(mean.double().numpy(), sd.double().square().numpy())
    np.testing.assert_allclose(found, exact, atol=1e-4)


def test_information_of_a_small_variance_is_the_fisher_information() -> None:
    """To first order it is sigma'(mu) s^2 / 2: the order of questions late on is not noise."""
    mean = torch.linspace(-3, 3, 13)
    found = information(mean, torch.full((13,), 1e-2))
    slopes = sigmoid(mean.double().numpy()) * sigmoid(-mean.double().numpy())
    np.testing.assert_allclose(found, slopes * 1e-2 / 2, rtol=0.03)


def test_slope_is_the_standard_deviation_of_the_answers_probability() -> None:
    mean, sd = torch.tensor([0.3]), 1e-3
    high, low = torch.sigmoid(mean + sd), torch.sigmoid(mean - sd)
    found = slope(mean, torch.tensor([sd**2]))
    torch.testing.assert_close(found, (high - low) / 2, atol=1e-7, rtol=1e-3)


def test_eubo_is_the_expected_better_of_the_pair() -> None:
    mean, variance = torch.tensor([0.7, -2.0, 0.0]), torch.tensor([1.5, 0.2, 3.0])
    rng = np.random.default_rng(0)
    margin = mean.numpy() + rng.standard_normal((400_000, 3)) * variance.sqrt().numpy()
    rewards = np.stack([margin / 2, -margin / 2])
    np.testing.assert_allclose(eubo(mean, variance), rewards.max(0).mean(0), atol=5e-3)


def test_the_ellipsoid_ignores_what_is_expected() -> None:
    variance = torch.tensor([4.0, 4.0])
    assert ellipsoid(torch.tensor([0.0, 9.0]), variance).tolist() == [2.0, 2.0]


def test_an_answer_that_is_known_teaches_nothing_whatever_its_variance() -> None:
    known, open_ = information(torch.tensor([12.0, 0.0]), torch.tensor([1.0, 1.0]))
    assert float(known) < 1e-3 < float(open_)


@pytest.mark.parametrize("rule", SCORED)
@given(mean=MEANS, variance=VARIANCES)
def test_a_question_is_the_same_either_way_round(rule: str, mean: float, variance: float) -> None:
    worth = RULES[rule]
    assert worth is not None
    forth, back = worth(*both(mean, variance)), worth(*both(-mean, variance))
    torch.testing.assert_close(forth, back, atol=1e-6, rtol=1e-4)
    assert bool(torch.isfinite(forth).all())
    assert float(forth) >= 0


@given(mean=MEANS)
def test_no_variance_has_no_information(mean: float) -> None:
    for rule in (information, slope, ellipsoid):
        assert float(rule(*both(mean, 0.0))) == 0


@pytest.mark.parametrize("rule", SCORED)
@given(mean=st.floats(-4, 4, width=32), low=st.floats(0.0625, 50, width=32))
def test_more_variance_is_worth_more(rule: str, mean: float, low: float) -> None:
    worth = RULES[rule]
    assert worth is not None
    assert float(worth(*both(mean, 2 * low))) >= float(worth(*both(mean, low))) - 1e-5


@given(mean=MEANS, variance=VARIANCES)
def test_an_answer_says_one_bit_at_most(mean: float, variance: float) -> None:
    assert float(information(*both(mean, variance))) <= np.log(2) + 1e-5


def test_eubo_of_a_certain_margin_is_half_of_it() -> None:
    torch.testing.assert_close(eubo(*both(-3.0, 0.0)), torch.tensor([1.5]))
    folded = stats.foldnorm(1.0).mean() / 2
    assert float(eubo(*both(1.0, 1.0))) == pytest.approx(folded, abs=1e-6)
