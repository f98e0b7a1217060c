"""Metrics against naive loops and known worlds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from palate.evaluation import metrics

logits = hnp.arrays(np.float64, st.integers(1, 60), elements=st.floats(-30, 30))


def test_a_tie_is_one_half() -> None:
    np.testing.assert_array_equal(metrics.hits(np.array([2.0, 0.0, -1.0])), [1.0, 0.5, 0.0])


@given(logits, st.integers(1, 5))
def test_per_user_is_a_loop_over_users(logit: np.ndarray, users: int) -> None:
    user = np.arange(len(logit)) * 7 % users
    values = metrics.hits(logit)
    naive = [values[user == u].mean() for u in range(users) if (user == u).any()]
    np.testing.assert_allclose(metrics.per_user(values, user), naive)


@given(logits)
def test_log_loss_is_minus_log_of_the_probability(logit: np.ndarray) -> None:
    probability = 1 / (1 + np.exp(-logit))
    np.testing.assert_allclose(metrics.log_loss(logit), -np.log(probability), rtol=1e-6, atol=1e-9)


def test_users_count_alike_however_many_comparisons_they_have() -> None:
    values, user = np.array([1.0] * 99 + [0.0]), np.array([0] * 99 + [1])
    mean = metrics.over_users(metrics.per_user(values, user))
    assert mean.mean == 0.5
    assert mean.users == 2
    assert mean.standard_error == pytest.approx(0.5)


def test_no_user_gives_no_number() -> None:
    mean = metrics.over_users(np.array([]))
    assert np.isnan(mean.mean)
    assert mean.users == 0
    assert np.isnan(metrics.calibration_error(np.array([])))


def test_interval_covers_the_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(2000):
        low, high = metrics.over_users(rng.normal(0.6, 0.1, size=50)).interval
        covered += low <= 0.6 <= high
    assert covered / 2000 == pytest.approx(0.95, abs=0.02)


def world(slope: float, count: int = 60_000) -> np.ndarray:
    """Logits `slope` times too large, of comparisons answered by the true ones."""
    rng = np.random.default_rng(1)
    true = rng.normal(0, 1.5, size=count)
    chosen = rng.random(count) < 1 / (1 + np.exp(-true))
    return slope * np.where(chosen, true, -true)


def test_calibrated_predictions_have_no_calibration_error() -> None:
    assert metrics.calibration_error(world(1.0)) < 0.01


@pytest.mark.parametrize("slope", [0.3, 3.0])
def test_timid_and_bold_predictions_have_one(slope: float) -> None:
    assert metrics.calibration_error(world(slope)) > 0.05


def test_calibration_error_is_the_textbook_sum() -> None:
    logit = np.array([0.1, -0.2, 1.0, 2.0, -3.0, 4.0])
    confidence = 1 / (1 + np.exp(-np.abs(logit)))
    right = (logit > 0).astype(float)
    low, high = [0, 1, 2], [3, 4, 5]  # already in the order of confidence
    naive = sum(abs(confidence[b].mean() - right[b].mean()) / 2 for b in (low, high))
    assert metrics.calibration_error(logit, bins=2) == pytest.approx(naive)


@given(logits, st.integers(1, 5))
def test_auc_is_the_share_of_ordered_pairs_of_both_sides(logit: np.ndarray, users: int) -> None:
    logit = np.round(logit, 1)  # so that there are ties
    user = np.arange(len(logit)) * 7 % users
    naive = []
    for u in np.unique(user):
        own = logit[user == u]
        gaps = own[:, None] + own[None, :]
        naive.append(np.mean(np.where(gaps == 0, 0.5, gaps > 0)))
    np.testing.assert_allclose(metrics.auc_per_user(logit, user), naive)


def test_auc_agrees_with_scikit_learn() -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    logit = np.random.default_rng(0).normal(0.3, 1, size=100)
    labels, scores = np.repeat([1, 0], 100), np.concatenate([logit, -logit])
    found = metrics.auc_per_user(logit, np.zeros(100, dtype=np.int64))
    assert found[0] == pytest.approx(sklearn.roc_auc_score(labels, scores))


def test_auc_of_one_comparison_is_its_accuracy_and_of_none_nothing() -> None:
    one = np.array([0, 1, 2])
    np.testing.assert_array_equal(
        metrics.auc_per_user(np.array([2.0, 0.0, -1.0]), one), [1, 0.5, 0]
    )
    assert len(metrics.auc_per_user(np.array([]), np.array([], dtype=np.int64))) == 0


def test_the_worst_tenth_are_the_lowest_users_and_one_at_least() -> None:
    values = np.random.default_rng(0).permutation(np.arange(30) / 30)
    assert metrics.worst_tenth(values) == pytest.approx(1 / 30)
    assert metrics.worst_tenth(np.array([0.4, 0.7])) == 0.4
    assert np.isnan(metrics.worst_tenth(np.array([])))


def test_bins_of_equal_count_go_from_the_lowest_up() -> None:
    by = np.array([3.0, 1.0, 2.0, 6.0, 5.0, 4.0])
    np.testing.assert_allclose(metrics.in_bins(by * 10, by), [15, 35, 55])
