"""Likeliest weights on the simplex against scipy's, user by user."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import optimize, special
from torch import Tensor

from palate.methods.simplex import likeliest_weights
from palate.types import Evidence
from tests.unit.methods.worlds import evidence_of, random_evidence, rows_of

Array = NDArray[np.float64]
START = torch.tensor([0.5, 0.3, 0.15, 0.05])


def linear(evidence: Evidence, start: Tensor = START) -> Tensor:
    """LoRe's: margins w . delta."""

    def margin_of(answers: Evidence, weight: Tensor) -> tuple[Tensor, Tensor]:
        return (weight[answers.user] * answers.rows).sum(-1), answers.rows

    return likeliest_weights(evidence, start, margin_of)


def loss(weight: Array, delta: Array) -> float:
    """-log likelihood of a user's answers, in nats."""
    return float(np.logaddexp(0, -(delta @ weight)).sum())


def best_of(delta: Array) -> float:
    """The least loss that scipy finds, over logits and over the simplex, from several starts."""
    rng = np.random.default_rng(0)
    simplex = {"type": "eq", "fun": lambda w: w.sum() - 1}
    k = delta.shape[1]
    found = []
    for _ in range(3):
        start = rng.dirichlet(np.ones(k))
        by_logits = optimize.minimize(
            lambda logits: loss(special.softmax(logits), delta), np.log(start), method="L-BFGS-B"
        )
        on_simplex = optimize.minimize(
            loss, start, (delta,), method="SLSQP", bounds=[(0, 1)] * k, constraints=[simplex]
        )
        found += [by_logits.fun, on_simplex.fun]
    return float(min(found))


@pytest.mark.parametrize("scale", [0.1, 1.0, 3.0, 10.0])
def test_the_likelihood_is_nearly_the_largest(scale: float) -> None:
    """Within a hundredth of a nat an answer, in few answers and in many."""
    evidence = random_evidence([1, 2, 5, 20, 100], 4, seed=3)
    evidence = Evidence(scale * evidence.rows, evidence.offsets)
    weight = linear(evidence)
    for user in range(evidence.users):
        delta = rows_of(evidence, user).double().numpy()
        reached = loss(weight[user].double().numpy(), delta)
        assert reached <= best_of(delta) + 1e-2 * len(delta)


def test_a_planted_user_is_found() -> None:
    truth = torch.tensor([0.1, 0.6, 0.1, 0.2])
    generator = torch.Generator().manual_seed(0)
    delta = 4 * torch.randn(20_000, 4, generator=generator)
    right = torch.rand(len(delta), generator=generator) < torch.sigmoid(delta @ truth)
    weight = linear(evidence_of(torch.where(right[:, None], delta, -delta)))
    torch.testing.assert_close(weight[0], truth, rtol=0, atol=0.03)


@given(
    counts=st.lists(st.integers(0, 8), min_size=1, max_size=5),
    scale=st.sampled_from([1e-3, 1.0, 20.0, 1000.0]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=60)
def test_never_below_the_start_and_users_alone(counts: list[int], scale: float, seed: int) -> None:
    evidence = random_evidence(counts, 4, seed)
    evidence = Evidence(scale * evidence.rows, evidence.offsets)
    weight = linear(evidence)
    torch.testing.assert_close(weight.sum(-1), torch.ones(len(counts)))
    assert bool((weight >= 0).all())
    for user in range(len(counts)):
        delta = rows_of(evidence, user).double().numpy()
        started = loss(START.double().numpy(), delta)
        assert loss(weight[user].double().numpy(), delta) <= started * (1 + 1e-5) + 1e-5
        alone = linear(evidence_of(rows_of(evidence, user)))
        torch.testing.assert_close(weight[user], alone[0], rtol=1e-2, atol=1e-3)


def test_no_answers_keep_the_start() -> None:
    evidence = evidence_of(torch.zeros(0, 4), torch.tensor([[0.0, 9.0, 0.0, 0.0]]))
    weight = linear(evidence)
    torch.testing.assert_close(weight[0], START)
    assert int(weight[1].argmax()) == 1
    torch.testing.assert_close(linear(evidence_of(torch.zeros(0, 4)))[0], START)


def test_answers_that_say_nothing_keep_the_start() -> None:
    """Equal rewards in every basis: no weights explain the answer better."""
    torch.testing.assert_close(linear(evidence_of(torch.full((3, 4), 2.0)))[0], START)


def test_a_start_without_a_basis_stays_finite() -> None:
    start = torch.tensor([1.0, 0.0, 0.0, 0.0])
    weight = linear(random_evidence([0, 10], 4), start)
    assert bool(torch.isfinite(weight).all())
    torch.testing.assert_close(weight[0], start)


def test_weights_of_one_basis_are_one() -> None:
    weight = linear(random_evidence([3, 0], 1), torch.ones(1))
    assert torch.equal(weight, torch.ones(2, 1))
