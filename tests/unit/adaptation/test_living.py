"""A living posterior is that of its rows, for every method, whatever was done to them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from palate.adaptation.living import LivingPosterior
from palate.methods import METHODS, Method
from palate.methods.updating import Laplace, Refit, Sums
from palate.methods.vrf import VRF
from palate.settings import build
from palate.types import Evidence, PairBatch
from tests.unit.methods.worlds import random_pairs

WIDTH = 5
CASES: dict[str, dict[str, Any]] = {
    "vrf": {"bases": 4, "dimensions": 3, "hidden": 8},
    "vrf-mean": {"bases": 4, "dimensions": 3, "hidden": 8, "aggregation": "mean"},
    "vrf-bare": {"bases": 4, "dimensions": 3, "hidden": 8, "prior_expert": False},
    "brf": {"bases": 4, "dimensions": 3, "hidden": 8},
    "brf-bare": {
        **{"bases": 4, "dimensions": 3, "hidden": 8, "temperature": 0.7},
        **{"prior_expert": False, "distance": "mean"},
    },
    "brf-mean": {"bases": 4, "dimensions": 3, "hidden": 8, "aggregation": "mean"},
    "pref": {"bases": 3},
    "lore": {"bases": 3},
    "vpl": {"dimensions": 2, "hidden": 6},
    "per_user": {"ridge": 2.0},
    "bt": {},
}


def made(case: str) -> Method:
    """A method as it starts; what it infers needs no training."""
    kind = METHODS[case.split("-", maxsplit=1)[0]]
    method = kind(build(kind.settings_class, CASES[case]), WIDTH)
    method.initialise(random_pairs([12, 12], WIDTH), torch.Generator().manual_seed(0))
    if isinstance(method, VRF):
        torch.nn.init.normal_(method.base_log_sd, generator=torch.Generator().manual_seed(1))
    method.register_parameter("users", None)  # those of the training are forgotten
    return method.requires_grad_(False)


METHODS_MADE = {case: made(case) for case in CASES}
cases = pytest.mark.parametrize("case", CASES)


def rows_of(case: str, count: int, seed: int = 0) -> torch.Tensor:
    pairs: PairBatch = random_pairs([count], WIDTH, seed)
    return METHODS_MADE[case].evidence(pairs)


def living_of(case: str, rows: torch.Tensor) -> LivingPosterior:
    return LivingPosterior(METHODS_MADE[case], Evidence(rows, torch.tensor([0, len(rows)])))


def check(case: str, living: LivingPosterior, atol: float = 2e-5) -> None:
    fitted, posterior = METHODS_MADE[case].posterior(living.evidence), living.posterior
    assert torch.equal(fitted.answers, posterior.answers)
    torch.testing.assert_close(posterior.mean, fitted.mean, rtol=1e-4, atol=atol)
    assert (fitted.variance is None) == (posterior.variance is None)
    if fitted.variance is not None:
        torch.testing.assert_close(posterior.variance, fitted.variance, rtol=1e-4, atol=atol)
    if fitted.covariance is not None:
        torch.testing.assert_close(posterior.covariance, fitted.covariance, rtol=1e-4, atol=atol)


operations = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.floats(0, 1)),
        st.tuples(st.just("withdraw"), st.floats(0, 0.999)),
        st.tuples(st.just("age"), st.floats(0.1, 1)),
    ),
    max_size=12,
)


@pytest.mark.parametrize("case", [case for case in CASES if case != "brf-bare"])
@given(steps=operations, seed=st.integers(0, 100))
@settings(max_examples=25)
def test_it_is_the_methods_posterior(case: str, steps: list[tuple[str, float]], seed: int) -> None:
    """But for BRF without a prior expert: float32 has no distances of faint answers."""
    rows, taken = rows_of(case, 40, seed), 0
    living = living_of(case, rows[20:23])
    kept, weights = list(rows[20:23]), [1.0, 1.0, 1.0]
    for name, value in steps:
        if name == "add":
            living.add(rows[taken], value)
            kept.append(rows[taken])
            weights.append(value)
            taken += 1
        elif name == "age":
            living.age(value)
            weights = [value * weight for weight in weights]
        elif kept:
            place = int(value * len(kept))
            living.withdraw(place)
            del kept[place], weights[place]
        check(case, living)
    assert len(living) == len(kept)
    evidence = living.evidence
    torch.testing.assert_close(evidence.rows, torch.stack([rows[0] * 0, *kept])[1:])
    torch.testing.assert_close(evidence.weight, torch.tensor(weights))


@cases
def test_it_grows_and_empties(case: str) -> None:
    method, rows = METHODS_MADE[case], rows_of(case, 40)
    living = living_of(case, rows[:0])
    check(case, living)
    for row in rows:
        living.add(row)
    check(case, living)
    for place in reversed(range(40)):
        living.withdraw(place)
    nobody = method.posterior(Evidence(rows[:0], torch.tensor([0, 0])))
    torch.testing.assert_close(living.posterior.mean, nobody.mean)
    assert len(living) == 0


@cases
def test_answers_that_fade_away_leave_numbers(case: str) -> None:
    """Through what float32 holds with few digits (1e-42) to what it takes for nothing."""
    living = living_of(case, rows_of(case, 5))
    for _ in range(25):
        living.age(0.01)
        for posterior in (living.posterior, METHODS_MADE[case].posterior(living.evidence)):
            assert bool(posterior.mean.isfinite().all())
            assert posterior.variance is None or bool(posterior.variance.isfinite().all())
    check(case, living)


def test_a_posterior_that_was_given_stays() -> None:
    """What a caller holds does not change with the next answer."""
    for case in CASES:
        rows = rows_of(case, 3)
        living = living_of(case, rows[:2])
        first, evidence = living.posterior, living.evidence
        assert living.posterior is first
        mean, kept = first.mean.clone(), evidence.rows.clone()
        living.add(rows[2])
        living.age(0.5)
        living.withdraw(0)
        assert living.posterior is not first
        assert torch.equal(first.mean, mean)
        assert torch.equal(evidence.rows, kept)


@pytest.mark.parametrize("weight", [-0.1, 1.1, float("nan")])
def test_weights_beyond_one_are_refused(weight: float) -> None:
    living = living_of("pref", rows_of("pref", 1))
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        living.add(torch.zeros(3), weight)
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        living.age(weight)
    assert len(living) == 1


@pytest.mark.parametrize("index", [-1, 1])
def test_only_an_answer_that_is_there_is_withdrawn(index: int) -> None:
    living = living_of("vrf", rows_of("vrf", 1))
    with pytest.raises(IndexError, match="no answer"):
        living.withdraw(index)


@cases
def test_it_starts_from_what_another_held(case: str) -> None:
    """Its evidence, with weights, makes the same one."""
    rows = rows_of(case, 5)
    living = living_of(case, rows[:4])
    living.age(0.5)
    living.add(rows[4], 0.75)
    again = LivingPosterior(METHODS_MADE[case], living.evidence)
    torch.testing.assert_close(again.posterior.mean, living.posterior.mean, rtol=1e-4, atol=2e-5)
    again.age(0.5)
    assert living.evidence.weight is not None
    assert living.evidence.weight.tolist() == [0.5] * 4 + [0.75]


def test_it_is_of_one_user() -> None:
    with pytest.raises(ValueError, match="one user, not of 2"):
        LivingPosterior(METHODS_MADE["pref"], Evidence(torch.zeros(2, 3), torch.tensor([0, 1, 2])))


def test_methods_have_their_own_way() -> None:
    kinds = {case: type(METHODS_MADE[case].updater()) for case in CASES}
    assert kinds["pref"] is kinds["brf"] is kinds["brf-bare"] is Laplace
    assert kinds["vrf"] is kinds["vrf-mean"] is kinds["vrf-bare"] is Sums
    assert kinds["brf-mean"] is Refit
    assert kinds["lore"] is kinds["vpl"] is kinds["per_user"] is kinds["bt"] is Refit
