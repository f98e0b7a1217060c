"""The factorisation of answers recovers what was planted in them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import linalg
from torch import Tensor

from palate.methods import factorisation
from palate.methods.factorisation import Factors, factorise_answers
from palate.types import PairBatch

USERS, PAIRS, RANK = 150, 80, 3


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def batch(answers: list[list[tuple[int, int]]], texts: int = 200) -> PairBatch:
    """Each user's (chosen, rejected)."""
    counts = torch.tensor([0, *map(len, answers)])
    rows = torch.tensor([row for own in answers for row in own]).view(-1, 2)
    return PairBatch(torch.zeros(texts, 2), rows[:, 0], rows[:, 1], counts.cumsum(0))


def planted(seed: int = 0, each: int = 60) -> tuple[PairBatch, Tensor, NDArray[np.float64]]:
    """Users of rank 3 who answer most of the pairs (2 p, 2 p + 1): margins (B,), tastes (U, 3)."""
    rng = np.random.default_rng(seed)
    tastes, pairs = rng.normal(size=(USERS, RANK)), 3 * rng.normal(size=(PAIRS, RANK))
    answers, margins = [], []
    for taste in tastes:
        own = []
        for p in rng.choice(PAIRS, each, replace=False):
            margin = float(taste @ pairs[p])
            first = rng.random() < 1 / (1 + np.exp(-margin))
            own.append((2 * p, 2 * p + 1) if first else (2 * p + 1, 2 * p))
            margins.append(margin if first else -margin)
        answers.append(own)
    return batch(answers), torch.tensor(margins), tastes


def factors_of(pairs: PairBatch, bases: int) -> Factors:
    found = factorise_answers(pairs, bases, generator())
    assert found is not None
    return found


@pytest.fixture(scope="module")
def world() -> tuple[PairBatch, Tensor, NDArray[np.float64]]:
    return planted()


def test_user_times_pair_is_about_the_true_margin(
    world: tuple[PairBatch, Tensor, NDArray[np.float64]],
) -> None:
    pairs, margins, _ = world
    factors = factors_of(pairs, RANK)
    assert factors.users.shape == (USERS, RANK)
    assert factors.pairs.shape == (len(pairs), RANK)
    first = torch.where(pairs.chosen % 2 == 0, 1.0, -1.0)  # pairs one way round: zero on average
    got = first * (factors.users[pairs.user] * factors.pairs).sum(-1)
    # Four times a probability's distance from one half is 2 tanh(margin / 2).
    expected = first * 2 * torch.tanh(margins.float() / 2)
    assert float(torch.corrcoef(torch.stack([got, expected]))[0, 1]) > 0.85
    assert float((got - expected).square().mean().sqrt()) < 1.0


def test_users_span_the_planted_tastes(
    world: tuple[PairBatch, Tensor, NDArray[np.float64]],
) -> None:
    pairs, _, tastes = world
    angles = linalg.subspace_angles(factors_of(pairs, RANK).users.double().numpy(), tastes)
    assert np.degrees(angles.max()) < 30


def test_singular_values_show_the_rank(
    world: tuple[PairBatch, Tensor, NDArray[np.float64]],
) -> None:
    values = factors_of(world[0], RANK).singular_values
    assert values.tolist() == sorted(values.tolist(), reverse=True)
    assert len(values) == min(USERS, PAIRS)
    assert values[RANK - 1] > 1.8 * values[RANK]
    assert values[RANK] < 1.3 * values[RANK + 1]


def test_chosen_is_first_whichever_row_comes_first() -> None:
    """Everybody prefers the same: margins are positive, as given and with all answers turned."""
    own = [(2 * p, 2 * p + 1) if p % 2 else (2 * p + 1, 2 * p) for p in range(6)]
    pairs = batch([own] * 5)
    turned = PairBatch(pairs.features, pairs.rejected, pairs.chosen, pairs.offsets)
    for answers in (pairs, turned):
        factors = factors_of(answers, 1)
        margin = (factors.users[answers.user] * factors.pairs).sum(-1)
        # +1/2 everywhere is of rank one: the factors give it back, four times as large.
        torch.testing.assert_close(margin, torch.full((30,), 2.0), rtol=1e-3, atol=1e-3)


def test_gaps_are_filled_in_by_what_the_others_say() -> None:
    """Everybody prefers the first of every pair, and each leaves one out: margins are still 2."""
    own = [(2 * p, 2 * p + 1) for p in range(6)]
    pairs = batch([own[:gap] + own[gap + 1 :] for gap in range(6)])
    factors = factors_of(pairs, 1)
    margin = (factors.users[pairs.user] * factors.pairs).sum(-1)
    torch.testing.assert_close(margin, torch.full((30,), 2.0), rtol=0.01, atol=0)


def test_a_matrix_without_gaps_is_its_own_svd() -> None:
    rng = np.random.default_rng(1)
    signs = rng.choice([-1, 1], size=(7, 5))
    pairs = batch(
        [
            [(2 * p, 2 * p + 1) if s > 0 else (2 * p + 1, 2 * p) for p, s in enumerate(r)]
            for r in signs
        ]
    )
    factors = factors_of(pairs, 2)
    u, s, v = np.linalg.svd(signs / 2)
    np.testing.assert_allclose(factors.singular_values.numpy(), s, atol=1e-4)
    low_rank = 4 * (u[:, :2] * s[:2]) @ v[:2]
    got = (factors.users[pairs.user] * factors.pairs).sum(-1).view(7, 5).numpy()
    np.testing.assert_allclose(got, low_rank * signs, atol=1e-3)


@pytest.mark.parametrize("users", [3, 12])
def test_the_smaller_side_decides_nothing(users: int) -> None:
    """More users than pairs, and fewer: the largest product is that of the full SVD."""
    rng = np.random.default_rng(2)
    signs = rng.choice([-1, 1], size=(users, 6))
    pairs = batch(
        [
            [(2 * p, 2 * p + 1) if s > 0 else (2 * p + 1, 2 * p) for p, s in enumerate(r)]
            for r in signs
        ]
    )
    factors = factors_of(pairs, 3)
    got = (factors.users[pairs.user] * factors.pairs).sum(-1).view(users, 6).numpy() * signs
    u, s, v = np.linalg.svd(signs / 2)
    np.testing.assert_allclose(got, 4 * (u[:, :3] * s[:3]) @ v[:3], atol=2e-3)


def test_without_shared_pairs_there_is_nothing_to_factorise() -> None:
    assert factorise_answers(batch([[(0, 1), (2, 3)], [(4, 5), (6, 7)]]), 1, generator()) is None
    # A user who repeats an answer shares it with nobody.
    assert factorise_answers(batch([[(0, 1), (0, 1), (1, 0)], [(4, 5)]]), 1, generator()) is None


def test_fewer_shared_pairs_or_users_than_bases_are_too_few() -> None:
    shared = [(0, 1), (2, 3)]
    assert factorise_answers(batch([shared] * 9), 3, generator()) is None
    assert factorise_answers(batch([shared, shared]), 2, generator()) is not None


def test_repeated_answers_are_averaged() -> None:
    """Twice for and once against is a third as sure as always for; once each says nothing."""
    sure = [(0, 1), (2, 3)]
    torn = [(0, 1), (0, 1), (1, 0), (2, 3)]
    even = [(0, 1), (1, 0), (2, 3)]
    answers, known, column, sign = factorisation._matrix(batch([sure, torn, even])) or ()
    assert known.all()
    torch.testing.assert_close(answers, torch.tensor([[0.5, 0.5], [1 / 6, 0.5], [0.0, 0.5]]))
    assert column.tolist() == [0, 1, 0, 0, 0, 1, 0, 0, 1]
    assert sign.tolist() == [1, 1, 1, 1, -1, 1, 1, -1, 1]


def test_a_pair_of_one_user_has_no_factor() -> None:
    shared = [(0, 1), (2, 3)]
    pairs = batch([[*shared, (8, 9)], shared])
    factors = factors_of(pairs, 1)
    assert torch.equal(factors.pairs[2], torch.zeros(1))
    assert bool((factors.pairs[[0, 1, 3, 4]] != 0).all())


def test_a_user_without_answers_leaves_the_others_alone() -> None:
    shared = [(0, 1), (3, 2)]
    factors = factors_of(batch([shared, [], shared]), 1)
    torch.testing.assert_close(factors.users[0], factors.users[2])
    torch.testing.assert_close(factors.users[1], torch.zeros(1), rtol=0, atol=0.05)


def test_pairs_answered_by_most_users_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(factorisation, "ENTRIES", 3 * 2)
    answers = [[(0, 1), (2, 3), (4, 5)], [(2, 3), (4, 5)], [(0, 1), (2, 3), (4, 5)]]
    factors = factors_of(batch(answers), 1)
    assert len(factors.singular_values) == 2
    assert torch.equal(factors.pairs[0], torch.zeros(1))  # (0, 1) has two users, the others three
    assert bool((factors.pairs[1:5] != 0).all())


def test_a_large_matrix_is_decomposed_by_iteration_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = torch.randn(40, 3, generator=generator()) @ torch.randn(3, 60, generator=generator())
    matrix += 0.01 * torch.randn(40, 60, generator=generator())
    exact, values = factorisation._left_factors(matrix, 3, generator())
    monkeypatch.setattr(factorisation, "EXACT", 10)
    found, leading = factorisation._left_factors(matrix, 3, generator())
    torch.testing.assert_close(leading[:3], values[:3], rtol=1e-3, atol=1e-3)
    assert torch.linalg.svdvals(exact.T @ found).min() > 0.999
