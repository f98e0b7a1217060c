"""The paired bootstrap against its definition and against known differences."""

import numpy as np
import pytest

from palate.evaluation.bootstrap import differences, mean_of, resample


def draws_of(values: list[np.ndarray], seed: int = 0, draws: int = 400) -> np.ndarray:
    return resample(values, np.random.default_rng(seed), draws).draws


def test_a_draw_is_a_mean_over_redrawn_users_then_over_seeds() -> None:
    values = [np.random.default_rng(i).random((2, users)) for i, users in enumerate((7, 11))]
    generator = np.random.default_rng(3)
    naive = []
    for seed in values:
        users = seed.shape[1]
        counts = generator.multinomial(users, np.full(users, 1 / users), size=50)
        naive.append([[np.repeat(row, count).mean() for count in counts] for row in seed])
    np.testing.assert_allclose(draws_of(values, 3, 50), np.mean(naive, axis=0))


def test_what_all_users_share_is_sure_however_much_users_differ() -> None:
    users = np.random.default_rng(0).normal(0.6, 0.3, size=200)
    resampled = resample([np.stack([users + 0.01, users])], np.random.default_rng(1))
    difference = resampled.difference(0, 1)
    assert difference.mean == pytest.approx(0.01)
    assert difference.low == pytest.approx(0.01)
    assert not difference.tied
    assert resampled.draws[0].std() > 0.01  # while each mean by itself is not sure


def test_a_method_is_tied_with_itself() -> None:
    values = np.random.default_rng(0).random(50)
    difference = resample([np.stack([values, values])], np.random.default_rng(0)).difference(0, 1)
    assert (difference.mean, difference.low, difference.high) == (0, 0, 0)
    assert difference.tied


def test_intervals_cover_the_true_difference_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(300):
        values = [np.stack([rng.normal(0.1, 1, 60), rng.normal(0, 1, 60)]) for _ in range(2)]
        found = resample(values, np.random.default_rng(trial), 400).difference(0, 1)
        covered += found.low <= 0.1 <= found.high
    assert covered / 300 == pytest.approx(0.95, abs=0.04)


def test_every_two_methods_have_a_difference_and_overall_is_the_mean_of_the_parts() -> None:
    rng = np.random.default_rng(0)
    parts = [resample([rng.random((3, 20))], rng, 100) for _ in range(2)]
    found = differences(["a", "b", "c"], mean_of(parts))
    assert list(found) == [("a", "b"), ("a", "c"), ("b", "c")]
    expected = np.mean([part.mean[0] - part.mean[2] for part in parts])
    assert found["a", "c"].mean == pytest.approx(expected)
    assert found["a", "c"].low < found["a", "c"].mean < found["a", "c"].high
