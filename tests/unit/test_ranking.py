"""Rankings and probabilities of being picked, against sampling and closed forms."""

import pytest
import torch

from palate.ranking import probability_best, rank
from palate.types import RewardDistribution


def test_without_uncertainty_the_probability_is_luces_rule() -> None:
    mean = torch.tensor([1.0, 0.0, -2.0])
    best = probability_best(RewardDistribution(mean, None))
    torch.testing.assert_close(best, mean.exp() / mean.exp().sum())


def test_probability_against_a_long_monte_carlo_run() -> None:
    generator = torch.Generator().manual_seed(0)
    mean, factor = torch.randn(5, generator=generator), torch.randn(5, 3, generator=generator)
    best = probability_best(RewardDistribution(mean, factor))
    draws = mean + torch.randn(400_000, 3, generator=generator) @ factor.T
    expected = torch.softmax(draws, dim=-1).mean(0)
    torch.testing.assert_close(best, expected, atol=3e-3, rtol=0)
    assert float(best.sum()) == pytest.approx(1, abs=1e-5)


def test_what_candidates_share_does_not_make_their_order_uncertain() -> None:
    """Rewards that move together differ by a constant: the pair is as if certain."""
    mean = torch.tensor([1.0, 0.0])
    together = probability_best(RewardDistribution(mean, torch.full((2, 1), 5.0)))
    torch.testing.assert_close(together, torch.softmax(mean, -1), atol=1e-4, rtol=0)
    apart = probability_best(RewardDistribution(mean, torch.tensor([[5.0], [-5.0]])))
    assert float(apart[0]) < float(together[0]) - 0.1


def test_ranking_is_by_mean_and_keeps_the_order_of_equals() -> None:
    ranking = rank(RewardDistribution(torch.tensor([0.5, 2.0, 0.5]), None), ["a", "b", "c"])
    assert ranking.order == [1, 0, 2]
    assert ranking.best.text == "b"
    assert ranking.best.sd is None


def test_the_same_rewards_give_the_same_numbers() -> None:
    rewards = RewardDistribution(torch.tensor([0.1, 0.2]), torch.tensor([[1.0], [0.3]]))
    torch.manual_seed(1)
    first = rank(rewards)
    torch.manual_seed(2)
    assert rank(rewards) == first
    assert first.candidates[1].sd == pytest.approx(1.0)
