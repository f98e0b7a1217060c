"""Careless answering against SciPy, and on users who are careless, or honest and noisy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from palate import Comparison, PreferenceData
from palate.honesty.consistency import beta_interval, consistency, count_repeats, judge
from palate.honesty.population import Population, population_of, typical_population


def showing(pair: int, first: bool = True, prompt: str = "p") -> Comparison:
    texts = (f"a{pair}", f"b{pair}")
    return Comparison(prompt, *(texts if first else texts[::-1]))


# -- finding repeats --------------------------------------------------------------------------


def test_repeats_are_found_either_way_round() -> None:
    answers = [showing(0), showing(1), showing(0), showing(1, False), showing(2)]
    found = consistency(answers)
    assert (found.answers, found.repeats, found.agreeing) == (5, 2, 1)


def test_a_third_showing_is_compared_with_the_second() -> None:
    found = consistency([showing(0), showing(0, False), showing(0, False)])
    assert (found.repeats, found.agreeing) == (2, 1)


def test_the_same_texts_to_another_prompt_are_no_repeat() -> None:
    assert consistency([showing(0), showing(0, prompt="q")]).repeats == 0


def test_counting_many_users_is_counting_each() -> None:
    rng = np.random.default_rng(0)
    rows = [
        {
            "user_id": f"u{rng.integers(5)}",
            "prompt": f"p{rng.integers(2)}",
            "chosen": f"{'ab'[side]}{pair}",
            "rejected": f"{'ba'[side]}{pair}",
        }
        for pair, side in rng.integers((3, 2), size=(200, 2))
    ]
    data = PreferenceData.load(rows)
    agreeing, repeats = count_repeats(data)
    for user in range(len(data.user_ids)):
        one = consistency(data.select(data.user == user))
        assert (one.agreeing, one.repeats) == (agreeing[user], repeats[user])
    assert repeats.sum() > agreeing.sum() > 0


def test_one_verdict_is_of_one_user() -> None:
    row = {"prompt": "p", "chosen": "a", "rejected": "b"}
    data = PreferenceData.load([row | {"user_id": name} for name in "xy"])
    with pytest.raises(ValueError, match="one user"):
        consistency(data)


# -- the figures ------------------------------------------------------------------------------


@pytest.mark.parametrize(("agreeing", "repeats"), [(0, 0), (0, 5), (5, 5), (7, 10), (9000, 10000)])
def test_the_interval_is_scipys(agreeing: int, repeats: int) -> None:
    a, b = 1 + agreeing, 1 + repeats - agreeing
    expected = stats.beta(a, b).interval(0.95)
    np.testing.assert_allclose(beta_interval(a, b), expected, atol=1e-4)


@given(st.integers(0, 300), st.integers(0, 300))
def test_any_interval_holds_the_middle_of_its_law(a: int, b: int) -> None:
    low, high = beta_interval(1 + a, 1 + b)
    law = stats.beta(1 + a, 1 + b)
    assert 0 <= low < law.median() < high <= 1
    assert law.cdf(high) - law.cdf(low) == pytest.approx(0.95, abs=2e-3)


@pytest.mark.parametrize(("agreeing", "repeats"), [(5, 10), (10, 10), (0, 3), (21, 40)])
def test_the_probability_of_answering_at_random_is_bayes_rule(agreeing: int, repeats: int) -> None:
    binomial = stats.binom(repeats, 0.5).pmf(agreeing)
    law = stats.beta(5, 2)
    careful, _ = integrate.quad(
        lambda x: law.pdf(x) * stats.binom(repeats, (1 + x) / 2).pmf(agreeing), 0, 1
    )
    expected = 0.1 * binomial / (0.1 * binomial + 0.9 * careful)
    assert judge(100, agreeing, repeats).random == pytest.approx(expected, abs=0.01)


def test_without_repeats_the_population_stands_and_nothing_is_said() -> None:
    found = judge(12, 0, 0)
    assert (found.share, found.verdict) == (None, "unclear")
    assert found.random == pytest.approx(0.1)
    assert found.interval == pytest.approx((0.025, 0.975), abs=1e-4)


# -- users ------------------------------------------------------------------------------------


def verdicts(rate: float, repeats: int, users: int = 2000) -> dict[str, float]:
    """Shares of verdicts on users whose repeats agree at a rate."""
    agreeing = np.random.default_rng(0).binomial(repeats, rate, size=users)
    found = [judge(2 * repeats, int(a), repeats).verdict for a in agreeing]
    return {name: found.count(name) / users for name in ("careless", "careful", "unclear")}


def test_careless_users_are_found() -> None:
    found = verdicts(0.5, repeats=40)
    assert found["careless"] > 0.5
    assert found["careful"] < 0.05


def test_honest_users_are_not_taken_for_careless_however_noisy() -> None:
    assert verdicts(0.9, repeats=20)["careful"] > 0.97
    assert verdicts(0.75, repeats=20)["careless"] < 0.01
    assert verdicts(0.7, repeats=40)["careless"] < 0.05


def test_a_careless_verdict_is_right_as_often_as_it_says() -> None:
    population = typical_population()
    rng = np.random.default_rng(1)
    kind = rng.choice(len(population.rates), p=population.shares, size=40_000)
    repeats = rng.integers(0, 30, size=len(kind))
    agreeing = rng.binomial(repeats, population.rates[kind])
    random = population.responsibilities(agreeing, repeats)[:, 0]
    for low, high in ((0.0, 0.1), (0.1, 0.3), (0.3, 0.6), (0.6, 1.0)):
        here = (random >= low) & (random < high)
        assert (kind[here] == 0).mean() == pytest.approx(random[here].mean(), abs=0.03)


def test_the_population_is_learned_from_many_users() -> None:
    rng = np.random.default_rng(0)
    rate = np.where(rng.random(1500) < 0.3, 0.5, 0.9)
    agreeing = rng.binomial(40, rate)
    found = population_of(agreeing, np.full(1500, 40), typical_population())
    assert found.shares[0] == pytest.approx(0.3, abs=0.07)
    assert found.rates @ found.shares == pytest.approx(rate.mean(), abs=0.01)


def test_no_users_leave_the_population_as_it_was() -> None:
    none = np.zeros(0, dtype=np.int64)
    prior = typical_population(0.2)
    np.testing.assert_allclose(population_of(none, none, prior).shares, prior.shares)


# -- what is refused --------------------------------------------------------------------------


@pytest.mark.parametrize("numbers", [(5, 3, 2), (5, -1, 2), (3, 0, 3), (0, 1, 1)])
def test_numbers_that_cannot_be_are_refused(numbers: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="repeats agree"):
        judge(*numbers)


@pytest.mark.parametrize(
    ("rates", "shares"),
    [
        ([0.6, 1.0], [0.5, 0.5]),
        ([0.5, 0.4], [0.5, 0.5]),
        ([0.5, 1.1], [0.5, 0.5]),
        ([0.5, 0.9], [0.5, 0.6]),
        ([0.5, 0.9], [0.0, 1.0]),
        ([0.5, 0.9], [1.5, -0.5]),
        ([0.5], [0.5, 0.5]),
    ],
)
def test_populations_that_cannot_be_are_refused(rates: list[float], shares: list[float]) -> None:
    with pytest.raises(ValueError, match=r"rate|share"):
        Population(np.array(rates), np.array(shares))


def test_a_user_who_always_agrees_and_one_who_never_does() -> None:
    population = Population(np.array([0.5, 1.0]), np.array([0.1, 0.9]))
    assert judge(20, 10, 10, population).verdict == "careful"
    assert judge(20, 9, 10, population).random == 1.0
    assert judge(20, 0, 10).random > 0.9
