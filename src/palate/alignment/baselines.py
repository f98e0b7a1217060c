"""Who answers in a comparison of win rates: plain, by a system prompt, best-of-N for one or all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from torch import Tensor

from palate.adaptation.profile import UserProfile
from palate.alignment.best_of_n import Rule, choose
from palate.alignment.candidates import draw_candidates
from palate.alignment.endpoint_pool import each
from palate.alignment.endpoint_retry import RefusedError
from palate.alignment.policy import Policy, Request
from palate.errors import DataError, PolicyError
from palate.model import PersonalRewardModel
from palate.progress import Progress
from palate.types import Comparison, RewardDistribution

#: Plain answers are samples of their own: seeds of candidates start so far from theirs.
APART = 1_000_000
#: A prompt, answered plainly and by candidates, or under a system prompt.
Draw = tuple[str, str | None]


@dataclass(frozen=True)
class TestedUser:
    """A user on whom win rates are measured.

    answers: what is known of the user, in order. profile: the user in words, for judges that read
    them. system: the user's own system prompt, or None.
    """

    __test__ = False  # no test of pytest's

    user_id: str
    answers: tuple[Comparison, ...]
    profile: str = ""
    system: str | None = None


class Contender(Protocol):
    """Something that answers prompts for users."""

    @property
    def name(self) -> str:
        """What a table calls it."""
        ...

    def answer(self, user: TestedUser, prompt: str) -> str:
        """Its answer; raises `PolicyError` where the policy gives none."""
        ...


@dataclass(frozen=True, eq=False)
class Sampler:
    """A policy's samples for prompts, each drawn once: candidates are shared by all who choose."""

    policy: Policy
    request: Request
    styles: tuple[str, ...] = ()
    _candidates: dict[str, list[str]] = field(default_factory=dict, repr=False)
    _plain: dict[tuple[str, str | None], str] = field(default_factory=dict, repr=False)

    def candidates(self, prompt: str) -> list[str]:
        """Distinct answers, at most `request.count`."""
        if prompt not in self._candidates:
            drawn = draw_candidates(self.policy, self._of(prompt), self.styles)
            self._candidates[prompt] = drawn.texts
        return self._candidates[prompt]

    def plain(self, prompt: str, system: str | None = None) -> str:
        """One answer that is none of the candidates' draws."""
        if (prompt, system) not in self._plain:
            sampled = self.policy.sample(self._plain_request(prompt, system))
            (self._plain[prompt, system],) = sampled.texts
        return self._plain[prompt, system]

    def fill(self, draws: Sequence[Draw], concurrency: int, progress: Progress) -> None:
        """Draw ahead, several at once; what fails is asked again when it is needed."""
        with progress.track("sampling", len(draws)) as advance:
            for _ in each(self._try, draws, concurrency):
                advance(1)

    def requests(self, draws: Sequence[Draw]) -> list[Request]:
        """What drawing asks the policy for, where candidates have no styles."""
        candidates = [self._of(prompt) for prompt, system in draws if system is None]
        return [*candidates, *(self._plain_request(*draw) for draw in draws)]

    def _of(self, prompt: str) -> Request:
        return replace(self.request, prompt=prompt)

    def _plain_request(self, prompt: str, system: str | None) -> Request:
        one = replace(self._of(prompt), count=1, seed=self.request.seed + APART)
        return one if system is None else replace(one, system=system)

    def _try(self, draw: Draw) -> None:
        prompt, system = draw
        try:
            self.plain(prompt, system)
            if system is None:
                self.candidates(prompt)
        except RefusedError:
            raise
        except PolicyError:
            return


@dataclass(frozen=True)
class Plain:
    """The policy's own answer, the same for everybody."""

    sampler: Sampler
    name: str = "plain"

    def answer(self, user: TestedUser, prompt: str) -> str:
        """One sample."""
        del user
        return self.sampler.plain(prompt)


@dataclass(frozen=True)
class OwnSystemPrompt:
    """The policy under the system prompt that the user wrote."""

    sampler: Sampler
    name: str = "system prompt"

    def answer(self, user: TestedUser, prompt: str) -> str:
        """One sample; raises `DataError` for a user without a system prompt."""
        if user.system is None:
            raise DataError(f"{user.user_id!r} has no system prompt to answer under")
        return self.sampler.plain(prompt, user.system)


@dataclass(frozen=True, eq=False)
class CandidateRewards:
    """A model's rewards of the candidates; their texts are read once, whoever is asked for."""

    sampler: Sampler
    model: PersonalRewardModel
    _states: dict[str, tuple[Tensor, Tensor | None]] = field(default_factory=dict, repr=False)

    def of(self, prompt: str, user: UserProfile | None) -> RewardDistribution:
        """A user's, in the order of the candidates; the population's where no user is given."""
        if prompt not in self._states:
            reader = self.model.reader
            texts = self.sampler.candidates(prompt)
            self._states[prompt] = reader.responses(prompt, texts), reader.state_of(prompt)
        responses, question = self._states[prompt]
        return self.model.reward(question, responses, user)


@dataclass(frozen=True, eq=False)
class BestOfN:
    """Of the candidates the one that a model expects the user to like best.

    answers: how many of the user's are known; None for a model that knows nobody, as BT does.
    """

    name: str
    rewards: CandidateRewards
    answers: int | None = None
    rule: Rule = "mean"
    _known: dict[str, UserProfile] = field(default_factory=dict, repr=False)

    def answer(self, user: TestedUser, prompt: str) -> str:
        """The chosen candidate."""
        chosen = choose(self.rewards.of(prompt, self._profile(user)), self.rule)
        return self.rewards.sampler.candidates(prompt)[chosen]

    def _profile(self, user: TestedUser) -> UserProfile | None:
        if not self.answers:
            return None
        if user.user_id not in self._known:
            known = list(user.answers[: self.answers])
            if len(known) < self.answers:
                raise DataError(
                    f"{user.user_id!r} gave {len(known)} answers; {self.answers} are asked for"
                )
            self._known[user.user_id] = self.rewards.model.adapt(known)
        return self._known[user.user_id]


def contenders(
    sampler: Sampler,
    model: PersonalRewardModel,
    answers: Sequence[int],
    *,
    bt: PersonalRewardModel | None = None,
    system: bool = False,
    rule: Rule = "mean",
) -> tuple[list[Contender], list[Contender]]:
    """Those who know the user, by number of answers, and those that they are measured against."""
    label = f"best-of-{sampler.request.count}"
    rewards = CandidateRewards(sampler, model)
    personal: list[Contender] = [
        BestOfN(f"{label}, {count} answers", rewards, count, rule) for count in answers
    ]
    others: list[Contender] = [Plain(sampler)]
    if system:
        others.append(OwnSystemPrompt(sampler))
    if bt is not None:
        name = f"{type(bt.method).name} {label}"
        others.append(BestOfN(name, CandidateRewards(sampler, bt), rule=rule))
    return personal, others
