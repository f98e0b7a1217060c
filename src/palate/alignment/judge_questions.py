"""The questions that judges are asked: each pair in both orders before every judge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from palate.alignment.judge_prompts import Instructions
from palate.alignment.policy import Request
from palate.alignment.request_cache import content_key
from palate.data.benchmarks.role_play import RolePlay
from palate.errors import DataError, SettingsError

#: A malformed answer is asked for again at this temperature at least, so that it may differ.
RETRY_TEMPERATURE = 0.7


@dataclass(frozen=True)
class JudgeSettings:
    """How a panel is asked.

    instructions: the prompt, by its name. samples: verdicts of each judge in each order. tries:
    answers to one question that are read before it counts as malformed. max_tokens: of an answer;
    models that reason need many more. concurrency: questions under way at once.
    """

    instructions: str = "pairwise_v1"
    samples: int = 1
    tries: int = 3
    temperature: float = 0.0
    max_tokens: int = 64
    seed: int = 0
    concurrency: int = 8

    def __post_init__(self) -> None:
        for name in ("samples", "tries", "max_tokens", "concurrency"):
            if getattr(self, name) < 1:
                raise SettingsError(f"{name} is {getattr(self, name)}; expected 1 or more")
        if not 0 <= self.temperature <= 2:
            raise SettingsError(f"temperature is {self.temperature}; expected 0 to 2")
        if self.samples > 1 and self.temperature == 0:
            raise SettingsError("several samples at temperature 0 are all the same; raise it")


@dataclass(frozen=True)
class Question:
    """One pair in one order before one judge, by place; `sample` is which of the judge's verdicts.

    key: its address in the journal.
    """

    play: RolePlay
    judge: int
    sample: int
    a_first: bool
    key: bytes


class Questions:
    """What judges of these names are asked about pairs, and in which words."""

    def __init__(self, judges: Sequence[str], settings: JudgeSettings) -> None:
        self.judges = tuple(judges)
        self.settings = settings
        self.instructions = Instructions(settings.instructions)

    def about(self, plays: Sequence[RolePlay]) -> list[Question]:
        """Pair after pair, judge after judge, sample after sample; A first, then B first.

        Raises `DataError` where a pair says nothing or is there twice.
        """
        _require_different(plays)
        return [
            self._question(play, judge, sample, a_first)
            for play in plays
            for judge in range(len(self.judges))
            for sample in range(self.settings.samples)
            for a_first in (True, False)
        ]

    def requests(self, question: Question) -> list[Request]:
        """What is sent, one after the other, until an answer can be read."""
        settings = self.settings
        text = self.instructions.question(question.play, a_first=question.a_first)
        first_seed = settings.seed + question.sample * settings.tries
        warmer = max(settings.temperature, RETRY_TEMPERATURE)
        return [
            Request(
                text,
                temperature=warmer if number else settings.temperature,
                max_tokens=settings.max_tokens,
                seed=first_seed + number,
            )
            for number in range(settings.tries)
        ]

    def _question(self, play: RolePlay, judge: int, sample: int, a_first: bool) -> Question:
        asked = asdict(self.settings) | {"judge": self.judges[judge], "sample": sample}
        for irrelevant in ("samples", "concurrency"):
            del asked[irrelevant]
        asked["text"] = self.instructions.question(play, a_first=a_first)
        asked["user"] = play.person.user_id
        return Question(play, judge, sample, a_first, content_key(asked))


def _require_different(plays: Sequence[RolePlay]) -> None:
    """Raise `DataError` where a pair says nothing or stands twice: an answer counts once."""
    seen: set[tuple[str, ...]] = set()
    for play in plays:
        texts = sorted((play.response_a, play.response_b))
        key = (play.person.user_id, play.person.description, play.prompt, *texts)
        if texts[0] == texts[1]:
            raise DataError(
                f"both responses to {play.prompt[:60]!r} are the same: nothing to judge"
            )
        if key in seen:
            raise DataError(
                f"{play.person.user_id} is to judge a pair on {play.prompt[:60]!r} twice"
            )
        seen.add(key)
