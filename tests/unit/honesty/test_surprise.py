"""Surprise against SciPy and enumeration, the detector against Page's recursion and simulation."""

from itertools import product

import numpy as np
import pytest
import torch
from scipy import stats

from palate.honesty.prequential import prequential
from palate.honesty.surprise import (
    ALTERNATIVES,
    Drift,
    cumulative_sum,
    detect,
    standardised_surprise,
    threshold_of,
    total_surprise,
)
from tests.unit.honesty.planted import answered, tastes, true_method


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def offsets_of(*counts: int) -> torch.Tensor:
    return torch.tensor([0, *counts]).cumsum(0)


def honest_answers(predicted: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Logits of answers that are drawn from their predictions."""
    fits = torch.rand(predicted.shape, generator=generator) < torch.sigmoid(predicted)
    return torch.where(fits, predicted, -predicted)


# -- surprise ---------------------------------------------------------------------------------


@pytest.mark.parametrize("logit", [-3.0, -0.4, 0.2, 1.0, 6.0])
def test_standardised_surprise_is_scipys_of_a_bernoulli(logit: float) -> None:
    p = 1 / (1 + np.exp(-logit))
    surprises = -np.log([p, 1 - p])
    law = stats.rv_discrete(values=([0, 1], [p, 1 - p]))
    mean = law.expect(lambda i: surprises[np.asarray(i, int)])
    sd = np.sqrt(law.expect(lambda i: (surprises[np.asarray(i, int)] - mean) ** 2))
    assert mean == pytest.approx(stats.entropy([p, 1 - p]))
    found = standardised_surprise(torch.tensor([logit], dtype=torch.float64))
    assert float(found) == pytest.approx((surprises[0] - mean) / sd)


def test_nothing_predicted_is_no_surprise() -> None:
    assert standardised_surprise(torch.zeros(2)).tolist() == [0, 0]
    assert total_surprise(torch.zeros(2), offsets_of(2, 0)).tolist() == [0, 0]


def test_total_surprise_has_mean_0_and_variance_1_by_enumeration() -> None:
    predicted = torch.tensor([0.3, -1.2, 2.5], dtype=torch.float64)
    mean = square = 0.0
    for signs in product((1.0, -1.0), repeat=3):
        answers = predicted * torch.tensor(signs, dtype=torch.float64)
        weight = float(torch.sigmoid(answers).prod())
        z = float(total_surprise(answers, offsets_of(3)))
        mean, square = mean + weight * z, square + weight * z**2
    assert mean == pytest.approx(0, abs=1e-12)
    assert square == pytest.approx(1)


def test_total_surprise_of_honest_users_is_close_to_standard_normal() -> None:
    predicted = 1.5 * torch.randn(2000, 200, generator=seeded())
    answers = honest_answers(predicted, seeded(1))
    z = total_surprise(answers.reshape(-1), torch.arange(2001) * 200)
    assert stats.kstest(z.numpy(), "norm").statistic < 0.05
    assert stats.kstest(z.numpy() + 0.2, "norm").statistic > 0.05


# -- the cumulative sum -----------------------------------------------------------------------


def page(logit: np.ndarray) -> list[tuple[float, int]]:
    """Page's recursion for each alternative; the larger of them, with the run's start."""
    found: list[list[tuple[float, int]]] = []
    for c in ALTERNATIVES:
        total, start, course = 0.0, 0, []
        for i, value in enumerate(logit):
            if total <= 0:
                total, start = 0.0, i
            total += np.logaddexp(0, -value) - np.logaddexp(0, -c * value)
            course.append((total, start))
        found.append(course)
    return [max(pair) for pair in zip(*found, strict=True)]


def test_the_closed_form_is_pages_recursion() -> None:
    logit = 2 * torch.randn(20, 30, generator=seeded(), dtype=torch.float64)
    statistic, start = cumulative_sum(logit)
    for user in range(20):
        expected = page(logit[user].numpy())
        np.testing.assert_allclose(statistic[user], [value for value, _ in expected], atol=1e-10)
        assert start[user].tolist() == [place for _, place in expected]


def test_each_user_alone_is_what_they_are_among_others() -> None:
    counts = [0, 7, 1, 40, 0, 12]
    logit = 2 * torch.randn(sum(counts), generator=seeded())
    offsets = offsets_of(*counts)
    together = detect(logit, offsets, 1.5)
    for user, count in enumerate(counts):
        own = logit[offsets[user] : offsets[user + 1]]
        alone = detect(own, offsets_of(count), 1.5)
        for name in ("alarm", "since", "raised", "statistic"):
            assert getattr(together, name)[user] == getattr(alone, name)[0], name
    assert together.alarm.any()
    assert not together.alarm.all()


def test_what_is_known_later_changes_no_alarm() -> None:
    logit = 2 * torch.randn(60, generator=seeded(3))
    whole = detect(logit, offsets_of(60), 2.0)
    assert whole.alarm
    until = int(whole.raised) + 1
    sooner = detect(logit[:until], offsets_of(until), 2.0)
    assert (sooner.since, sooner.raised) == (whole.since, whole.raised)
    assert not detect(logit[: until - 1], offsets_of(until - 1), 2.0).alarm


def test_answers_that_turn_are_dated_to_the_turn() -> None:
    logit = torch.cat([torch.full((10,), 2.0), torch.full((5,), -2.0)])
    found = detect(logit, offsets_of(15), 5.0)
    assert (bool(found.alarm), int(found.since), int(found.raised)) == (True, 10, 12)


# -- false alarms and power -------------------------------------------------------------------


def test_false_alarms_are_as_rare_as_asked() -> None:
    users, answers = 6000, 100
    predicted = (2 * torch.randn(users * answers, generator=seeded())).abs()
    threshold = threshold_of(predicted[:20_000], seeded(1), rate=0.01, draws=20_000)
    logit = honest_answers(predicted, seeded(2))
    found = detect(logit, torch.arange(users + 1) * answers, threshold)
    assert 0.003 < float(found.alarm.double().mean()) < 0.02


def drift_of(change: str, users: int = 200, answers: int = 40) -> Drift:
    """Users whose taste changes before answer 20, seen through prequential predictions."""
    generator = seeded(5)
    before = tastes(users, generator)
    after = {"none": before, "reversed": -before}[change]
    half = answers // 2
    taste = torch.stack([before] * half + [after] * half, dim=1)
    method = true_method()
    logit = prequential(method, answered(taste, generator))
    # What is asked, and so the sequence of predictions, is drawn from users whose taste stays.
    same = answered(before[:, None].expand(-1, answers, -1), generator)
    threshold = threshold_of(prequential(method, same), seeded(6), rate=0.05, answers=answers)
    return detect(logit, torch.arange(users + 1) * answers, threshold)


def test_false_alarms_of_a_posterior_that_learns_are_as_rare_as_asked() -> None:
    assert 0.01 < float(drift_of("none").alarm.double().mean()) < 0.09


def test_a_reversed_taste_is_found_within_twelve_answers_and_dated() -> None:
    found = drift_of("reversed")
    timely = found.alarm & (found.raised >= 20) & (found.raised < 32)
    assert float(timely.double().mean()) > 0.75
    off = (found.since[timely] - 20).abs().double()
    assert float(off.median()) <= 1


# -- what is refused --------------------------------------------------------------------------


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_logits_that_are_no_numbers_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        detect(torch.tensor([0.0, value]), offsets_of(2), 1.0)
    with pytest.raises(ValueError, match="finite"):
        threshold_of(torch.tensor([value]), seeded())


def test_thresholds_and_rates_out_of_range_are_refused() -> None:
    for threshold in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="above 0"):
            detect(torch.zeros(1), offsets_of(1), threshold)
    for rate in (0.0, 1e-9, 1.0, float("nan")):
        with pytest.raises(ValueError, match="rate"):
            threshold_of(torch.ones(3), seeded(), rate=rate)
    with pytest.raises(ValueError, match="one prediction"):
        threshold_of(torch.zeros(0), seeded())


@pytest.mark.parametrize("offsets", [[], [0], [1, 3], [0, 2], [0, 4], [0, 3, 2, 3]])
def test_offsets_that_are_not_the_users_are_refused(offsets: list[int]) -> None:
    for function in (total_surprise, lambda logit, own: detect(logit, own, 1.0)):
        with pytest.raises(ValueError, match="offsets"):
            function(torch.zeros(3), torch.tensor(offsets))


def test_extreme_logits_leave_finite_figures() -> None:
    logit = torch.tensor([1e4, -1e4, 1e4])
    found = detect(logit, offsets_of(3), 1.0)
    assert found.statistic.isfinite().all()
    assert total_surprise(logit, offsets_of(3)).isfinite().all()


def test_users_without_answers_raise_no_alarm() -> None:
    found = detect(torch.zeros(0), offsets_of(0, 0), 1.0)
    assert found.alarm.tolist() == [False, False]
    assert found.since.tolist() == [-1, -1]
    assert detect(torch.zeros(0), offsets_of(), 1.0).alarm.shape == (0,)


def test_the_same_generator_gives_the_same_threshold() -> None:
    logit = torch.randn(50, generator=seeded())
    assert threshold_of(logit, seeded(4)) == threshold_of(logit, seeded(4))
