"""What an answer counts after so many half-lives."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from palate.adaptation.ageing import Ageing, together
from palate.adaptation.record import Answer
from palate.errors import PosteriorError, SettingsError

times = st.lists(st.floats(-1e12, 1e12), max_size=5)


@given(times=times, half_life=st.floats(1e-3, 1e12), now=st.floats(-1e12, 1e12))
def test_an_answer_halves_with_every_half_life(
    times: list[float], half_life: float, now: float
) -> None:
    weights = Ageing(half_life, now).weights([Answer("k", time) for time in times])
    assert weights.shape == (len(times),)
    for time, weight in zip(times, weights.tolist(), strict=True):
        lives = max(now - time, 0.0) / half_life
        expected = 2.0**-lives if lives <= 30 else 0.0
        assert weight == pytest.approx(expected, rel=1e-6)


def test_a_half_life_by_hand() -> None:
    ages = [0.0, 10.0, 20.0, 5.0, 1000.0, -7.0]
    weights = Ageing(10.0, 100.0).weights([Answer("k", 100.0 - age) for age in ages])
    expected = torch.tensor([1.0, 0.5, 0.25, 0.5**0.5, 0.0, 1.0])
    torch.testing.assert_close(weights, expected)


def test_an_answer_without_a_time_is_refused() -> None:
    with pytest.raises(PosteriorError, match="1 of 2 answers have no time"):
        Ageing(10.0, 0.0).weights([Answer("a", 1.0), Answer("b")])


@pytest.mark.parametrize("half_life", [0.0, -1.0, math.inf, math.nan])
def test_a_half_life_that_is_none_is_refused(half_life: float) -> None:
    with pytest.raises(SettingsError, match="half-life"):
        Ageing(half_life, 0.0)


@pytest.mark.parametrize("now", [math.inf, math.nan])
def test_a_present_that_is_none_is_refused(now: float) -> None:
    with pytest.raises(SettingsError, match="the time now"):
        Ageing(1.0, now)


def test_newer_answers_move_the_present() -> None:
    ageing = Ageing(10.0, 100.0)
    assert ageing.until([Answer("a", 120.0), Answer("b", 90.0)]) == Ageing(10.0, 120.0)
    assert ageing.until([Answer("a", 80.0), Answer("b")]) == ageing
    assert ageing.until([]) == ageing


def test_two_devices_age_as_one() -> None:
    one = Ageing(10.0, 3.0)
    assert together(None, None) is None
    assert together(one, None) == together(None, one) == one
    assert together(one, Ageing(10.0, 5.0)) == Ageing(10.0, 5.0)
    for pair in ((one, Ageing(20.0, 3.0)), (Ageing(20.0, 3.0), one)):
        with pytest.raises(PosteriorError, match="different half-lives"):
            together(*pair)
