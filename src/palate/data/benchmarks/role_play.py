"""Judges that play people: what they are told of a person, and asked of a pair in both orders.

PReF, appendix B.2: each pair is shown in both orders to a model that is told what a person said
in PRISM's survey. The judge is any callable from a text to its answer; none is called here but
the one that is given. The wording is ours, as the paper's is lost with its figures.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from palate.data.benchmarks.rows import Row, parse_rows, require_columns
from palate.data.splits import hash_order
from palate.errors import DataError, Problem, SettingsError

#: Columns of the survey that hold one answer, in words for the judge.
FACTS = {
    "age": "Age",
    "gender": "Gender",
    "employment_status": "Employment",
    "education": "Education",
    "marital_status": "Marital status",
    "english_proficiency": "English proficiency",
    "lm_familiarity": "Familiarity with language models",
    "lm_frequency_use": "Use of language models",
}
#: Columns that hold several answers, and of which one is told.
NESTED_FACTS = {
    "religion": ("simplified", "Religion"),
    "ethnicity": ("simplified", "Ethnicity"),
    "location": ("reside_country", "Country of residence"),
}
#: People rate what matters to them in a response from 0 to 100.
MOST_IMPORTANT = 3

QUESTION = """You play a person and judge as this person would, not as you would.

{person}

The person asked:
{prompt}

Response 1:
{first}

Response 2:
{second}

Which response does this person prefer? Answer with the number alone: 1 or 2."""


@dataclass(frozen=True)
class Person:
    """A person of the survey, in the words that a judge is told."""

    user_id: str
    description: str


@dataclass(frozen=True)
class RolePlay:
    """A pair of responses for a person to judge; `a_first`, `b_first` are what a judge is asked."""

    person: Person
    prompt: str
    response_a: str
    response_b: str

    @property
    def a_first(self) -> str:
        """The question with A shown first."""
        return self._question(self.response_a, self.response_b)

    @property
    def b_first(self) -> str:
        """The question with B shown first."""
        return self._question(self.response_b, self.response_a)

    def _question(self, first: str, second: str) -> str:
        return QUESTION.format(
            person=self.person.description, prompt=self.prompt, first=first, second=second
        )


def read_people(survey: Sequence[Row]) -> list[Person]:
    """The people of PRISM's `survey`. Raises `DataError` for a bad row or a person twice."""
    require_columns(survey, ("user_id",))
    people = parse_rows(survey, _person)
    first: dict[str, int] = {}
    problems = []
    for row, person in zip(survey, people, strict=True):
        if first.setdefault(person.user_id, row.number) != row.number:
            fault = f"{person.user_id!r} has answered in row {first[person.user_id]} already"
            problems.append(Problem(row.file, row.number, "user_id", fault))
    if problems:
        raise DataError(problems)
    return people


def role_plays(
    people: Sequence[Person],
    pairs: Sequence[tuple[str, str, str]],
    *,
    judges: int = 50,
    seed: int = 0,
) -> Iterator[RolePlay]:
    """Each pair (prompt, response A, response B) before `judges` people drawn at random."""
    if not 1 <= judges <= len(people):
        raise SettingsError(f"judges is {judges}; expected 1 to {len(people)}, the people there")
    names = [person.user_id for person in people]
    for prompt, response_a, response_b in pairs:
        purpose = "\x1f".join(["judges", prompt, *sorted((response_a, response_b))])
        for place in hash_order(seed, purpose, names)[:judges].tolist():
            yield RolePlay(people[place], prompt, response_a, response_b)


def judge(play: RolePlay, ask: Callable[[str], str]) -> dict[str, Any]:
    """One judgement in the canonical form, both orders asked; null where no answer is read."""
    first, second = _verdict(ask(play.a_first)), _verdict(ask(play.b_first))
    return {
        "user_id": play.person.user_id,
        "prompt": play.prompt,
        "response_a": play.response_a,
        "response_b": play.response_b,
        "a_first": None if first is None else float(first == 1),
        "b_first": None if second is None else float(second == 2),
    }


def _verdict(answer: str) -> int | None:
    """The number that the answer names; None if it names none or both."""
    named = set(re.findall(r"(?<![\w.])[12](?!\w|\.\d)", answer))
    return int(named.pop()) if len(named) == 1 else None


def _person(row: Row) -> Person:
    lines = [
        f"{label}: {answer}" for column, label in FACTS.items() if (answer := _answer(row, column))
    ]
    for column, (part, label) in NESTED_FACTS.items():
        if not row.absent(column) and (answer := _answer(row.inner(column), part)):
            lines.append(f"{label}: {answer}")
    if not row.absent("stated_prefs"):
        lines += _stated(row.inner("stated_prefs"))
    for column, label in (
        ("self_description", "In their own words"),
        ("system_string", "How a model should answer them, in their own words"),
    ):
        if answer := _answer(row, column):
            lines.append(f"{label}: {answer}")
    if not lines:
        raise row.fault("self_description", "nothing is known of this person; leave the row out")
    return Person(row.name("user_id"), "\n".join(lines))


def _answer(row: Row, column: str) -> str:
    """An answer in words; empty where there is none."""
    return "" if row.absent(column) else row.name(column).strip()


def _stated(preferences: Row) -> list[str]:
    """What the person says matters most and least in a response; ties in the survey's order."""
    rated = {
        name: preferences.number_of(name, 0, 100)
        for name, value in preferences.values.items()
        if isinstance(value, int | float) and name != "other"
    }
    order = sorted(rated, key=lambda name: -rated[name])
    if len(order) <= MOST_IMPORTANT:
        return []
    most = ", ".join(order[:MOST_IMPORTANT])
    return [f"What matters most to them in a response: {most}", f"What matters least: {order[-1]}"]
