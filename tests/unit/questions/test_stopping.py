"""The chance of a change, against both answers worked out by SciPy."""

import numpy as np
import pytest
import torch

from palate.errors import CannotRunError, DataError, SettingsError
from palate.maths import mackay_margin
from palate.questions import chance_of_change, expected_turns
from palate.questions.stopping import _answers, _margin_after
from palate.types import WeightDistribution
from tests.unit.questions.worlds import drawn_pool, drawn_weights, exact_mode


def by_brute_force(
    weights: WeightDistribution, pair: torch.Tensor, candidates: torch.Tensor, what: str
) -> float:
    assert weights.covariance is not None
    variance = pair @ weights.covariance[0] @ pair
    probability = float(torch.sigmoid(mackay_margin(pair @ weights.mean[0], variance)))
    now = np.argsort(-(candidates @ weights.mean[0]).numpy(), kind="stable")
    total = 0.0
    for answer, p in ((1, probability), (-1, 1 - probability)):
        after = candidates.double().numpy() @ exact_mode(weights, pair, answer)
        then = np.argsort(-after, kind="stable")
        differs = then[0] != now[0] if what == "best" else bool((then != now).any())
        total += p * differs
    return total


@pytest.mark.parametrize("what", ["best", "order"])
def test_the_chance_of_a_change_against_enumeration(what: str) -> None:
    weights, pool, candidates = drawn_weights(), drawn_pool(25), drawn_pool(4, seed=7)
    found = chance_of_change(weights, pool, candidates, what)  # type: ignore[arg-type]
    expected = [by_brute_force(weights, pair, candidates, what) for pair in pool]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert sum(e > 0 for e in expected) > 0


@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0])
def test_weights_after_an_answer_are_the_mode(scale: float) -> None:
    weights, pool = drawn_weights(scale=scale), drawn_pool(5)
    for answer, (_, shift) in zip((1, -1), _answers(weights, pool), strict=True):
        for pair, moved in zip(pool, shift, strict=True):
            exact = exact_mode(weights, pair, answer)
            np.testing.assert_allclose(weights.mean[0] + moved, exact, atol=2e-3, rtol=2e-3)


def test_the_margin_after_an_answer_solves_its_equation() -> None:
    mean = torch.linspace(-50, 50, 41)
    for variance in (0.0, 1e-6, 1.0, 100.0, 1e4):
        t = _margin_after(mean, torch.full_like(mean, variance)).double()
        residual = t - mean - variance * torch.sigmoid(-t)
        assert float(residual.abs().max()) < 1e-3 * max(1, variance**0.5)


def test_turns_of_pairs_against_enumeration() -> None:
    weights, pool, pairs = drawn_weights(), drawn_pool(10), drawn_pool(40, seed=3)
    assert weights.covariance is not None
    found = expected_turns(weights, pool, pairs)
    now = (pairs @ weights.mean[0]).numpy()
    for i, pair in enumerate(pool):
        variance = pair @ weights.covariance[0] @ pair
        p = float(torch.sigmoid(mackay_margin(pair @ weights.mean[0], variance)))
        after = [pairs.numpy() @ exact_mode(weights, pair, answer) for answer in (1, -1)]
        expected = p * (after[0] * now < 0).mean() + (1 - p) * (after[1] * now < 0).mean()
        assert float(found[i]) == pytest.approx(expected, abs=1e-5)


def test_a_user_who_is_known_is_settled() -> None:
    weights = drawn_weights(scale=1e-4)
    candidates = drawn_pool(4, seed=7)
    assert float(chance_of_change(weights, drawn_pool(), candidates, "order").max()) == 0
    assert float(expected_turns(weights, drawn_pool(), candidates).max()) == 0


def test_one_candidate_and_a_question_of_nothing_change_nothing() -> None:
    weights = drawn_weights()
    assert float(chance_of_change(weights, drawn_pool(), drawn_pool(1)).max()) == 0
    nothing = torch.zeros(1, 4)
    assert float(chance_of_change(weights, nothing, drawn_pool(9), "order")[0]) == 0


def test_an_order_changes_at_least_as_often_as_its_best() -> None:
    weights, pool, candidates = drawn_weights(), drawn_pool(), drawn_pool(6, seed=5)
    best = chance_of_change(weights, pool, candidates)
    order = chance_of_change(weights, pool, candidates, "order")
    assert bool((order >= best).all())
    assert float(order.max()) <= 1 + 1e-6


def test_what_cannot_be_judged_is_refused() -> None:
    weights, pool = drawn_weights(), drawn_pool()
    with pytest.raises(DataError, match="no pair"):
        chance_of_change(weights, pool, pool[:0])
    with pytest.raises(DataError, match=r"expected \(pairs, 4\)"):
        chance_of_change(weights, pool, pool[:, :2])
    with pytest.raises(SettingsError, match="'best' or 'order'"):
        chance_of_change(weights, pool, pool, "all")  # type: ignore[arg-type]
    with pytest.raises(CannotRunError, match="no uncertainty"):
        expected_turns(WeightDistribution(weights.mean, None), pool, pool)
    many = WeightDistribution(weights.mean.repeat(2, 1), None)
    with pytest.raises(DataError, match="one user"):
        expected_turns(many, pool, pool)
