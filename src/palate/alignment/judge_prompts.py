"""What language models are told: our own prompts, by name and version, and how answers are read."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from string import Template

from palate.data.benchmarks.role_play import RolePlay
from palate.errors import SettingsError

#: Which response an answer prefers: 1 the one shown first, 0 the other, 1/2 neither.
FORCED = {"1": 1.0, "2": 0.0}
WITH_TIES = {**FORCED, "tie": 0.5}
#: The prompts that ask for a verdict, and the verdicts that they allow.
VERDICTS = {"pairwise_v1": WITH_TIES, "role_play_v1": FORCED}

LINE = re.compile(r"verdict:\s*(\w+)\.?", re.IGNORECASE)


@cache
def prompt_named(name: str) -> Template:
    """A prompt of ours, with places for texts, such as $prompt."""
    return Template(files("palate.alignment").joinpath(f"prompts/{name}.txt").read_text("utf-8"))


@dataclass(frozen=True)
class Instructions:
    """A prompt that asks for a verdict, by its name."""

    name: str

    def __post_init__(self) -> None:
        if self.name not in VERDICTS:
            raise SettingsError(
                f"instructions is {self.name!r}; expected one of {', '.join(VERDICTS)}"
            )

    def question(self, play: RolePlay, *, a_first: bool) -> str:
        """A pair before a person, in one of its two orders.

        The marks around the responses hold a hash of all texts, so that no response can close its
        own and speak to the judge from outside.
        """
        texts = (play.response_a, play.response_b)
        first, second = texts if a_first else texts[::-1]
        told = (play.person.description, play.prompt)
        mark = hashlib.sha256("\x1f".join((*told, *texts)).encode()).hexdigest()[:8]
        return prompt_named(self.name).substitute(
            person=told[0], prompt=told[1], first=first, second=second, mark=mark
        )

    def read(self, answer: str) -> float | None:
        """How far the response shown first is preferred; None where the answer is malformed.

        The last line is the verdict, and no other line may give one.
        """
        lines = [line.strip() for line in answer.strip().splitlines()]
        found = [LINE.fullmatch(line) for line in lines]
        given = [match for match in found if match is not None]
        if len(given) != 1 or found[-1] is None:
            return None
        return VERDICTS[self.name].get(given[0][1].lower())
