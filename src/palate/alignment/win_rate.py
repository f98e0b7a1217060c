"""How often users prefer one way of answering to another, with intervals over users."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from palate.alignment.baselines import Contender, TestedUser
from palate.alignment.endpoint_retry import RefusedError
from palate.alignment.win_rate_figures import WinRate, WinRates
from palate.data.benchmarks.role_play import Person, RolePlay
from palate.data.splits import hash_order
from palate.errors import DataError, PolicyError
from palate.progress import Progress, Silent


class PairJudge(Protocol):
    """Whoever says which of two responses a user prefers."""

    name: str

    def preferences(
        self, plays: Sequence[RolePlay], progress: Progress | None = None
    ) -> list[float | None]:
        """For each pair 1 if the user prefers A, 0 if B, 1/2 for neither; None if not known."""
        ...

    def report(self) -> dict[str, Any]:
        """What became of its questions, for programs."""
        ...


@dataclass(frozen=True)
class Contest:
    """Two answers to one prompt for one user, by place in the lists of contenders and users."""

    contender: int
    against: int
    user: int
    prompt: str
    text: str
    other: str


def measure_win_rates(
    judge: PairJudge,
    users: Sequence[TestedUser],
    prompts: Sequence[str],
    personal: Sequence[Contender],
    others: Sequence[Contender],
    *,
    each: int = 10,
    seed: int = 0,
    progress: Progress | None = None,
) -> WinRates:
    """Every personal contender against every other, and the others against the first of them.

    Each user meets `each` of the prompts, drawn by the seed. A pair that several contenders lead to
    is judged once. Raises `DataError` where there are no users or prompts.
    """
    if not users or not prompts:
        raise DataError("win rates need users and prompts; there are none")
    everybody = [*personal, *others]
    first = len(personal)
    lines = [(p, o) for p in range(first) for o in range(first, len(everybody))]
    lines += [(o, first) for o in range(first + 1, len(everybody))]
    met = prompts_of_users(users, prompts, each, seed)
    answered, unanswered = _answers(everybody, users, met, progress)
    contests = list(_contests(lines, answered, len(users), met))
    said = _judged(judge, users, contests, progress)
    generator = np.random.default_rng(seed)
    rates = []
    for contender, against in lines:
        of_line = [
            (one.user, value)
            for one, value in zip(contests, said, strict=True)
            if (one.contender, one.against) == (contender, against)
        ]
        names = (everybody[contender].name, everybody[against].name)
        by_user = [user for user, _ in of_line]
        rates.append(WinRate.of(names, by_user, [value for _, value in of_line], generator))
    return WinRates(judge.name, tuple(rates), unanswered, judge.report())


def prompts_of_users(
    users: Sequence[TestedUser], prompts: Sequence[str], each: int, seed: int
) -> list[list[str]]:
    """The prompts that each user meets, drawn by the seed and the user."""
    different = list(dict.fromkeys(prompts))
    return [
        [different[i] for i in hash_order(seed, f"prompts\x1f{user.user_id}", different)[:each]]
        for user in users
    ]


Answered = dict[tuple[int, int, str], str]


def _answers(
    contenders: Sequence[Contender],
    users: Sequence[TestedUser],
    met: Sequence[Sequence[str]],
    progress: Progress | None,
) -> tuple[Answered, dict[str, int]]:
    """What each contender answers each user's prompts, and why some have no answer."""
    found: Answered = {}
    failed: dict[str, int] = {}
    total = len(contenders) * sum(map(len, met))
    with (progress or Silent()).track("answering", total) as advance:
        for place, user in enumerate(users):
            for prompt in met[place]:
                for number, contender in enumerate(contenders):
                    try:
                        found[number, place, prompt] = contender.answer(user, prompt)
                    except RefusedError:
                        raise
                    except PolicyError as error:
                        failed[str(error)] = failed.get(str(error), 0) + 1
                    advance(1)
    return found, failed


def _contests(
    lines: Sequence[tuple[int, int]], answered: Answered, users: int, met: Sequence[Sequence[str]]
) -> Iterator[Contest]:
    for contender, against in lines:
        for user in range(users):
            for prompt in met[user]:
                one, other = (answered.get((c, user, prompt)) for c in (contender, against))
                if one is not None and other is not None:
                    yield Contest(contender, against, user, prompt, one, other)


def _judged(
    judge: PairJudge,
    users: Sequence[TestedUser],
    contests: Sequence[Contest],
    progress: Progress | None,
) -> list[float | None]:
    """How far each contest's first answer is preferred; each pair of texts is judged once."""
    plays: dict[tuple[int, str, str, str], RolePlay] = {}
    for one in contests:
        first, second = sorted((one.text, one.other))
        if first != second:
            user = users[one.user]
            person = Person(user.user_id, user.profile)
            plays[one.user, one.prompt, first, second] = RolePlay(person, one.prompt, first, second)
    said = dict(zip(plays, judge.preferences(list(plays.values()), progress), strict=True))
    return [_won(one, said) for one in contests]


def _won(one: Contest, said: dict[tuple[int, str, str, str], float | None]) -> float | None:
    if one.text == one.other:
        return 0.5
    first, second = sorted((one.text, one.other))
    preference = said[one.user, one.prompt, first, second]
    if preference is None or one.text == first:
        return preference
    return 1 - preference
