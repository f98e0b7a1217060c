"""A mode whose prior the answers move too, kept up to date as the batch has it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from palate.methods.laplace import logistic_mode
from palate.methods.updating import Laplace
from palate.types import Evidence

Array = NDArray[np.float64]
READ = 4
PRECISION = torch.tensor([[2.0, 0.3, 0.0], [0.3, 1.0, -0.2], [0.0, -0.2, 0.5]])
MAP = torch.randn(READ, 3, generator=torch.Generator().manual_seed(0))


def prior(sums: Tensor) -> Tensor:
    """Where the answers' first columns lie on average, with one answer that says nothing.

    The first column is one, so that its sum says what the answers weigh.
    """
    return (sums @ MAP) / (1 + sums[:, :1])


def prior_of_one(sums: Array) -> Array:
    """The same of one user, in numpy."""
    found: Array = sums @ MAP.double().numpy() / (1 + sums[0])
    return found


def expected(rows: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    offsets = torch.tensor([0, len(rows)])
    read = Evidence(rows[:, :READ], offsets, weight)
    answers = Evidence(rows[:, READ:], offsets, weight)
    mode = logistic_mode(answers, prior(read.sums()), PRECISION)
    return mode.mean, mode.covariance


@pytest.mark.parametrize("seed", range(5))
def test_a_prior_of_the_answers_is_the_batchs(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    rows = 2 * torch.randn(12, READ + 3, generator=generator)
    rows[:, 0] = 1
    weight = torch.rand(12, generator=generator)
    numbers, counted = rows.double().numpy(), weight.double().numpy()
    learned = PRECISION.clone().requires_grad_()  # a model in training may be asked too
    updater = Laplace(prior_of_one, learned, READ)
    for count in range(13):
        posterior = updater.posterior(numbers[:count], counted[:count])
        mean, covariance = expected(rows[:count], weight[:count])
        torch.testing.assert_close(posterior.mean, mean, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(posterior.covariance, covariance, rtol=1e-5, atol=1e-5)
        assert posterior.answers.tolist() == [count]
        if count < 12:
            updater.add(numbers[count], float(counted[count]))
    again = updater.posterior(numbers[3:5], np.ones(2))  # whatever went before
    torch.testing.assert_close(again.mean, expected(rows[3:5], torch.ones(2))[0])
