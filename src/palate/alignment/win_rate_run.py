"""The win-rate experiment: best-of-N by number of answers, against its baselines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from palate.alignment.baselines import Draw, OwnSystemPrompt, Sampler, TestedUser, contenders
from palate.alignment.policy import Policy, Request
from palate.alignment.spending import ROOM, Billed, Tokens
from palate.alignment.win_rate import PairJudge, measure_win_rates, prompts_of_users
from palate.alignment.win_rate_figures import WinRates
from palate.errors import DataError, SettingsError
from palate.model import PersonalRewardModel
from palate.progress import Progress, Silent


@dataclass(frozen=True)
class WinRateSettings:
    """What is measured.

    answers: numbers of a user's answers that are known. candidates: N of best-of-N. choose: mean,
    lower or best. prompts: that each user meets. users: at most so many, 0 for all. concurrency:
    prompts that are sampled at once, where an endpoint answers.
    """

    answers: tuple[int, ...] = (5, 10, 20)
    candidates: int = 16
    choose: Literal["mean", "lower", "best"] = "mean"
    prompts: int = 10
    users: int = 0
    temperature: float = 1.0
    max_tokens: int = 256
    seed: int = 0
    concurrency: int = 8

    def __post_init__(self) -> None:
        if not self.answers or min(self.answers) < 0:
            raise SettingsError(f"answers is {self.answers}; expected numbers of 0 or more")
        for name in ("candidates", "prompts", "max_tokens", "concurrency"):
            if getattr(self, name) < 1:
                raise SettingsError(f"{name} is {getattr(self, name)}; expected 1 or more")
        if not 0 <= self.temperature <= 2 or self.users < 0:
            raise SettingsError(
                f"temperature is {self.temperature}, users {self.users}; expected 0 to 2, and 0 "
                "or more"
            )


class WinRateExperiment:
    """A model, the policy that answers, BT beside it or not, the users and the prompts.

    users: those who gave as many answers as are asked for; too_few: how many did not. System
    prompts take part where every user has one. Raises `DataError` where no user gave enough.
    """

    def __init__(
        self,
        model: PersonalRewardModel,
        policy: Policy,
        users: Sequence[TestedUser],
        prompts: Sequence[str],
        settings: WinRateSettings,
        bt: PersonalRewardModel | None = None,
    ) -> None:
        most = max(settings.answers)
        enough = [user for user in users if len(user.answers) >= most]
        if not enough:
            raise DataError(f"no user gave {most} answers; ask for fewer with answers=")
        self.users = enough[: settings.users or None]
        self.too_few = len(users) - len(enough)
        self.prompts = list(dict.fromkeys(prompts))
        self.settings = settings
        request = Request(
            "",
            settings.candidates,
            temperature=settings.temperature,
            max_tokens=settings.max_tokens,
            seed=settings.seed,
        )
        self.sampler = Sampler(policy, request)
        self.personal, self.others = contenders(
            self.sampler,
            model,
            settings.answers,
            bt=bt,
            system=all(user.system is not None for user in self.users),
            rule=settings.choose,
        )

    def announce(self) -> tuple[Tokens, float]:
        """What sampling costs at most; raises `PolicyError` where a budget does not hold it.

        What judging costs is known when the answers are there, and announced then.
        """
        policy = self.sampler.policy
        if not isinstance(policy, Billed):
            return Tokens(), 0.0
        bound = policy.bound(self.sampler.requests(self._draws())).times(ROOM)
        return bound, policy.spending.announce(bound)

    def run(self, judge: PairJudge, progress: Progress | None = None) -> WinRates:
        """Sample, choose and judge."""
        concurrency = self.settings.concurrency if self._remote else 1
        self.sampler.fill(self._draws(), concurrency, progress or Silent())
        return measure_win_rates(
            judge,
            self.users,
            self.prompts,
            self.personal,
            self.others,
            each=self.settings.prompts,
            seed=self.settings.seed,
            progress=progress,
        )

    @property
    def _remote(self) -> bool:
        return isinstance(self.sampler.policy, Billed)

    def _draws(self) -> list[Draw]:
        """Everything that is sampled, each once."""
        settings = self.settings
        met = prompts_of_users(self.users, self.prompts, settings.prompts, settings.seed)
        own = any(isinstance(one, OwnSystemPrompt) for one in self.others)
        draws: dict[Draw, None] = {(prompt, None): None for prompts in met for prompt in prompts}
        if own:
            for user, prompts in zip(self.users, met, strict=True):
                draws |= dict.fromkeys((prompt, user.system) for prompt in prompts)
        return list(draws)
