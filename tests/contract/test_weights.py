"""What an answer counts: every method's posterior honours the weights of evidence."""

import pytest
import torch
from torch import Tensor

from palate.adaptation.living import LivingPosterior
from palate.methods import Method
from palate.types import Evidence, UserPosterior
from tests.contract.cases import cases
from tests.contract.test_methods import close, some_pairs

ANSWERS = 6
WITH_A_PRIOR = ("vrf", "vrf-moments", "brf", "brf-moments", "pref")


def rows_of(case: str, method: Method, count: int = ANSWERS, seed: int = 0) -> Tensor:
    return method.evidence(some_pairs(case, count, seed)).detach()


def joined(method: Method, rows: Tensor, weight: Tensor | None = None) -> UserPosterior:
    """One user's posterior."""
    return method.posterior(Evidence(rows, torch.tensor([0, len(rows)]), weight))


@cases
def test_no_weights_are_weights_of_one(case: str, methods: dict[str, Method]) -> None:
    rows = rows_of(case, methods[case])
    close(joined(methods[case], rows), joined(methods[case], rows, torch.ones(ANSWERS)), rtol=1e-5)


@cases
@pytest.mark.parametrize("left_out", [[2], [0, 5], list(range(ANSWERS))])
def test_an_answer_of_no_weight_is_as_never_given(
    case: str, left_out: list[int], methods: dict[str, Method]
) -> None:
    rows = rows_of(case, methods[case])
    weight = torch.ones(ANSWERS)
    weight[left_out] = 0
    kept = rows[weight > 0]
    posterior = joined(methods[case], rows, weight)
    close(posterior, joined(methods[case], kept))
    assert posterior.answers.tolist() == [ANSWERS]  # it was given all the same


@cases
def test_two_halves_are_a_whole(case: str, methods: dict[str, Method]) -> None:
    rows = rows_of(case, methods[case])
    halves = joined(methods[case], rows.repeat(2, 1), torch.full((2 * ANSWERS,), 0.5))
    close(halves, joined(methods[case], rows))


@cases
def test_weights_belong_to_their_user(case: str, methods: dict[str, Method]) -> None:
    """Users of different numbers of weighted answers, together as alone."""
    method = methods[case]
    parts = [rows_of(case, method, count, seed=count) for count in (3, 0, 7)]
    weight = torch.rand(10, generator=torch.Generator().manual_seed(4))
    together = method.posterior(Evidence(torch.cat(parts), torch.tensor([0, 3, 3, 10]), weight))
    for user, (rows, own) in enumerate(zip(parts, weight.split([3, 0, 7]), strict=True)):
        close(together[user : user + 1], joined(method, rows, own))


@cases
def test_the_less_an_answer_counts_the_less_it_moves(case: str, methods: dict[str, Method]) -> None:
    """From the posterior without an answer to that with it, further with every step of weight."""
    method = methods[case]
    rows = rows_of(case, method)
    others = torch.ones(ANSWERS)
    moved = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        others[-1] = share
        moved.append(joined(method, rows, others.clone()).mean)
    distance = [float((mean - moved[0]).norm()) for mean in moved]
    assert distance == sorted(distance)
    if method.personal:
        assert distance[-1] > distance[0]


@cases
def test_answers_that_hardly_count_leave_numbers(case: str, methods: dict[str, Method]) -> None:
    rows = rows_of(case, methods[case])
    posterior = joined(methods[case], rows, torch.full((ANSWERS,), 1e-9))
    assert bool(posterior.mean.isfinite().all())
    if case in WITH_A_PRIOR:  # they are back at it
        nobody = joined(methods[case], rows[:0])
        close(posterior, nobody)


@cases
def test_a_living_posterior_is_the_methods(case: str, methods: dict[str, Method]) -> None:
    """Answer by answer, aged and taken back, by whatever way the method has of its own."""
    method = methods[case]
    rows = rows_of(case, method)
    living = LivingPosterior(method, Evidence(rows[:2], torch.tensor([0, 2])))
    for row in rows[2:]:
        living.add(row)
        close(living.posterior, method.posterior(living.evidence))
    living.age(0.5)
    living.withdraw(1)
    close(living.posterior, joined(method, rows[[0, 2, 3, 4, 5]], torch.full((5,), 0.5)))
