"""Best-of-N: of a policy's candidates the one that a user is expected to like best.

Weights change per user and nothing is trained. What it gains over the policy's plain answer is said
beside it, and whether more candidates would pay.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from palate.adaptation.profile import UserProfile
from palate.alignment.candidates import Candidate, draw_candidates
from palate.alignment.policy import Policy, Request
from palate.errors import SettingsError
from palate.model import PersonalRewardModel
from palate.predictive import lower_bound, probability_highest, probability_preferred
from palate.types import RewardDistribution

#: How a candidate is chosen: by expected reward, by the reward that is undercut with probability
#: `level`, or by the probability that its reward is the highest.
Rule = Literal["mean", "lower", "best"]
#: Reward that more candidates must promise: about one point of the probability of preference.
WORTH = 0.05
#: Points and reach, in standard deviations, of the integral of `expected_improvement`.
POINTS, REACH = 2001, 8.0


@dataclass(frozen=True, eq=False)
class Best:
    """The chosen candidate among all.

    rewards: the user's, joint over the candidates. chosen: its place. gain: its expected reward
    over the first candidate's, the plain answer's. p_over_first: probability that the user prefers
    it to the first. improvement: what `more` further candidates are expected to add, in rewards.
    """

    candidates: tuple[Candidate, ...]
    rewards: RewardDistribution
    rule: Rule
    chosen: int
    more: int
    improvement: float
    removed: int = 0

    @property
    def text(self) -> str:
        """The chosen answer."""
        return self.candidates[self.chosen].text

    @property
    def gain(self) -> float:
        """Expected reward over the first candidate's."""
        return float(self.rewards.mean[self.chosen] - self.rewards.mean[0])

    @property
    def p_over_first(self) -> float:
        """Probability that the user prefers the choice to the first candidate; 1/2 for itself."""
        return float(probability_preferred(self.rewards)[self.chosen, 0])

    @property
    def pays(self) -> bool:
        """Whether more candidates promise more than `WORTH`."""
        return self.improvement >= WORTH


def best_of_n(
    model: PersonalRewardModel,
    policy: Policy,
    request: Request,
    user: UserProfile | None = None,
    *,
    styles: Sequence[str] = (),
    rule: Rule = "mean",
    level: float = 0.05,
    more: int | None = None,
) -> Best:
    """Draw `request.count` candidates and choose among them for a user (None: the population).

    styles: system prompts that candidates are written under in turns. more: further candidates
    whose worth is told, as many again where None. Raises `PolicyError` where no answer came.
    """
    drawn = draw_candidates(policy, request, styles)
    rewards = model.reward(request.prompt, drawn.texts, user)
    more = request.count if more is None else more
    return Best(
        candidates=drawn.candidates,
        rewards=rewards,
        rule=rule,
        chosen=choose(rewards, rule, level),
        more=more,
        improvement=expected_improvement(rewards.mean, more),
        removed=drawn.removed,
    )


def choose(rewards: RewardDistribution, rule: Rule = "mean", level: float = 0.05) -> int:
    """The place of the best candidate by a rule; of equals the one with the higher mean, then the
    first. Without uncertainty all rules are one. Raises `SettingsError` for an unknown rule."""
    if rule not in get_args(Rule):
        raise SettingsError(f"rule {rule!r} is not known; expected one of {get_args(Rule)}")
    score = rewards.mean
    if rule == "lower":
        score = lower_bound(rewards, level)
    elif rule == "best":
        score = probability_highest(rewards)
    top = score == score.max()
    return int(torch.where(top, rewards.mean, -torch.inf).argmax())


def expected_improvement(mean: Tensor, more: int) -> float:
    """By how much `more` further candidates are expected to raise the best expected reward.

    By order statistics: if the candidates' expected rewards (n,) are drawn from F, the best of N
    more lies above t with probability 1 - F(t)^N, so that the expected rise over today's best b is

        E[(max_N - b)+] = integral over t from b to infinity of 1 - F(t)^N.

    F is the normal curve with the candidates' mean and their variance times 1 + 1/n, for the mean
    is estimated too. Rewards with a short upper tail promise a little less than this says. Zero for
    a single candidate, of which no spread can be seen.
    """
    if more < 0:
        raise SettingsError(f"more is {more}; expected 0 or more candidates")
    n = len(mean)
    values = mean.double()
    spread = float(values.std()) * math.sqrt(1 + 1 / n) if n > 1 else 0.0
    if spread == 0 or more == 0:
        return 0.0
    lowest = float((values.max() - values.mean()) / spread)
    t = torch.linspace(lowest, max(lowest, 0.0) + REACH, POINTS, dtype=torch.float64)
    above = 1 - torch.special.ndtr(t).pow(more)
    return spread * float(torch.trapezoid(above, t))
