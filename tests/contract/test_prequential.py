"""Every method's answers can be predicted one by one, and weighed by change points."""

import torch

from palate.honesty.change import weights_of_answers
from palate.honesty.prequential import prequential
from palate.methods import Method
from palate.types import Evidence
from tests.contract.cases import cases
from tests.contract.test_methods import of_users, some_pairs, states


@cases
@torch.no_grad()
def test_a_prediction_is_by_the_posterior_of_the_answers_before(
    case: str, methods: dict[str, Method]
) -> None:
    method = methods[case]
    pairs = of_users(states(case, 5, seed=1), states(case, 3, seed=2))
    found = prequential(method, pairs, batch=4)
    rows = method.evidence(some_pairs(case, 5, seed=1))
    for answer in range(5):
        posterior = method.posterior(Evidence(rows[:answer], torch.tensor([0, answer])))
        states_ = (table[answer : answer + 1] for table in states(case, 5, seed=1))
        logit = method.margins(posterior, of_users(tuple(states_))).logit
        torch.testing.assert_close(found[answer : answer + 1], logit, rtol=1e-3, atol=1e-4)


@cases
@torch.no_grad()
def test_weights_of_change_points_make_a_posterior(case: str, methods: dict[str, Method]) -> None:
    method = methods[case]
    pairs = of_users(states(case, 6, seed=3), states(case, 2, seed=4))
    weight = weights_of_answers(method, pairs)
    posterior = method.posterior(Evidence(method.evidence(pairs), pairs.offsets, weight))
    assert posterior.mean.isfinite().all()
    torch.testing.assert_close(weight[pairs.offsets[1:] - 1], torch.ones(2))
