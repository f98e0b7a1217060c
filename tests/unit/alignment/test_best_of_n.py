"""Best-of-N: the rules against planted rewards, the promise of more candidates against draws."""

import math

import pytest
import torch
from torch import Tensor

from palate import PersonalRewardModel
from palate.alignment.best_of_n import Best, best_of_n, choose, expected_improvement
from palate.alignment.candidates import Candidate
from palate.alignment.local import LocalPolicy
from palate.alignment.policy import Request
from palate.errors import SettingsError
from palate.types import Comparison, RewardDistribution

# a safe answer, a better one on average that is uncertain, and a sure loser
SAFE_OR_BOLD = RewardDistribution(
    torch.tensor([1.0, 1.2, 0.0]), torch.tensor([[0.1, 0.0], [0.0, 3.0], [0.1, 0.0]])
)


def best(rewards: RewardDistribution, chosen: int, improvement: float = 0.0) -> Best:
    candidates = tuple(Candidate(str(i)) for i in range(len(rewards.mean)))
    return Best(candidates, rewards, "mean", chosen, 4, improvement)


def test_rules_differ_where_the_user_is_uncertain() -> None:
    assert choose(SAFE_OR_BOLD, "mean") == 1
    assert choose(SAFE_OR_BOLD, "lower") == 0
    likely = RewardDistribution(torch.tensor([1.0, 0.9]), torch.tensor([[-5.0], [5.0]]))
    assert choose(likely, "best") == 0
    # seldom far better: the mean prefers it, the probability of being best does not
    three = RewardDistribution(
        torch.tensor([0.0, 0.3, 0.1]), torch.tensor([[4.0, 0.0], [0.0, 0.1], [-4.0, 0.0]])
    )
    assert choose(three, "mean") == 1
    assert choose(three, "best") != 1


def test_without_uncertainty_all_rules_are_one() -> None:
    sure = RewardDistribution(torch.tensor([0.0, 2.0, 1.0]), None)
    assert {choose(sure, rule) for rule in ("mean", "lower", "best")} == {1}


def test_of_equals_the_first_is_chosen() -> None:
    sure = RewardDistribution(torch.tensor([0.0, 2.0, 2.0]), None)
    assert choose(sure, "best") == 1


def test_an_unknown_rule_or_level_is_refused() -> None:
    with pytest.raises(SettingsError, match="rule 'luck' is not known"):
        choose(SAFE_OR_BOLD, "luck")  # type: ignore[arg-type]


def test_the_gain_is_over_the_first_candidate() -> None:
    found = best(SAFE_OR_BOLD, 1)
    assert found.gain == pytest.approx(0.2)
    assert 0.5 < found.p_over_first < 0.56
    assert found.text == "1"
    same = best(SAFE_OR_BOLD, 0)
    assert (same.gain, same.p_over_first) == (0, 0.5)


def improvement_by_draws(mean: Tensor, more: int) -> float:
    """The same promise by drawing the further candidates."""
    n = len(mean)
    spread = float(mean.std()) * math.sqrt(1 + 1 / n)
    generator = torch.Generator().manual_seed(0)
    drawn = float(mean.mean()) + spread * torch.randn(200_000, more, generator=generator)
    return float((drawn.amax(1) - mean.max()).clamp_min(0).mean())


@pytest.mark.parametrize("more", [1, 4, 16])
@pytest.mark.parametrize("n", [2, 5, 16])
def test_what_more_candidates_add_is_what_draws_add(n: int, more: int) -> None:
    mean = torch.randn(n, generator=torch.Generator().manual_seed(n)) * 2 + 5
    expected = improvement_by_draws(mean, more)
    assert expected_improvement(mean, more) == pytest.approx(expected, abs=0.01)


def test_more_candidates_promise_more_but_ever_less_each() -> None:
    mean = torch.tensor([0.0, 1.0, 2.0])
    promised = [expected_improvement(mean, more) for more in (0, 1, 2, 3, 1000)]
    assert promised[0] == 0
    assert promised == sorted(promised)
    assert promised[1] > promised[2] - promised[1] > promised[3] - promised[2] > 0
    assert promised[4] < 8 * float(mean.std())


def test_a_best_that_stands_out_leaves_little_to_gain() -> None:
    level, outlier = torch.zeros(16), torch.zeros(16)
    level[:8] = 1.0
    outlier[0] = 1.0
    share = [expected_improvement(x, 16) / float(x.std()) for x in (level, outlier)]
    assert share[0] > 5 * share[1]


def test_where_no_spread_is_seen_nothing_is_promised() -> None:
    assert expected_improvement(torch.tensor([1.0]), 5) == 0
    assert expected_improvement(torch.ones(4), 5) == 0
    with pytest.raises(SettingsError, match="expected 0 or more"):
        expected_improvement(torch.ones(4), -1)


def test_whether_more_pay_follows_from_the_promise() -> None:
    assert best(SAFE_OR_BOLD, 1, improvement=0.2).pays
    assert not best(SAFE_OR_BOLD, 1, improvement=0.01).pays


def test_with_a_real_policy_the_choice_has_the_highest_reward(
    text_model: PersonalRewardModel, tiny_policy: LocalPolicy
) -> None:
    request = Request("prompt 1", count=6, max_tokens=12)
    answers = [Comparison("prompt 1", "response 0 to 1", "response 1 to 1")]
    user = text_model.adapt(answers)
    found = best_of_n(text_model, tiny_policy, request, user, styles=["Be formal."])
    texts = [candidate.text for candidate in found.candidates]
    again = text_model.reward("prompt 1", texts, user)
    assert found.chosen == int(again.mean.argmax())
    assert found.text == texts[found.chosen]
    assert found.gain >= 0
    assert found.more == 6
    assert found.improvement > 0
    assert {candidate.style for candidate in found.candidates} == {None, "Be formal."}


def test_without_a_user_the_population_chooses(
    text_model: PersonalRewardModel, tiny_policy: LocalPolicy
) -> None:
    request = Request("prompt 1", count=3, max_tokens=8)
    nobody = best_of_n(text_model, tiny_policy, request)
    new = best_of_n(text_model, tiny_policy, request, text_model.new_user())
    assert nobody.text == new.text
