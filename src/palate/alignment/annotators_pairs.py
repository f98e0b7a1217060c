"""Pairs of responses to be judged, as PReF makes them: by contrasting traits, or by revision."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from palate.alignment.annotators_writing import Writer
from palate.alignment.judge_prompts import prompt_named
from palate.alignment.policy import Request
from palate.data.benchmarks.role_play import Person
from palate.data.splits import hash_order
from palate.data.synthetic.attributes import ATTRIBUTES
from palate.data.synthetic.users import kinds_of_user
from palate.progress import Progress

UNWRITTEN = "pairs of which a response was not written"
ALIKE = "pairs whose responses are the same"
#: How a request for a response is sampled; its seed comes from the run's.
WRITING = Request("", temperature=1.0, max_tokens=512)


@dataclass(frozen=True)
class Asked:
    """A prompt, with the response that is given to it already, where there is one."""

    prompt: str
    response: str | None = None


@dataclass(frozen=True)
class Pairs:
    """Prompts with two different responses each, and why others have none."""

    pairs: tuple[tuple[str, str, str], ...]
    left_out: dict[str, int]

    @classmethod
    def of(cls, rows: Sequence[tuple[str, str | None, str | None]]) -> Pairs:
        """Those of which both responses are there and differ."""
        whole = [(p, a, b) for p, a, b in rows if a is not None and b is not None]
        different = [row for row in whole if row[1] != row[2]]
        counts = {UNWRITTEN: len(rows) - len(whole), ALIKE: len(whole) - len(different)}
        return cls(tuple(different), dict(Counter(counts)))


# -- PReF, appendix B.1: attributes ---------------------------------------------------------------


def attributes_people() -> list[Person]:
    """The 84 users: every pair of traits of two different attributes, in words."""
    return [
        Person(f"user-{number:02d}", f"Likes answers that are {' and '.join(traits(kind))}.")
        for number, kind in enumerate(kinds_of_user())
    ]


def traits(kind: NDArray[np.int64]) -> list[str]:
    """The two traits of weights (7,)."""
    return [ATTRIBUTES[index].direction(int(kind[index])) for index in np.flatnonzero(kind)]


def attributes_requests(asked: Sequence[Asked], seed: int = 0) -> list[Request]:
    """Two for each prompt: one answer in two traits, and one in two that contrast with them.

    The traits are two users' who have no trait in common, drawn by the prompt and the seed.
    """
    kinds = kinds_of_user()
    names = [str(number) for number in range(len(kinds))]
    requests = []
    for one in asked:
        order = kinds[hash_order(seed, f"traits\x1f{one.prompt}", names)]
        first = order[0]
        second = next(kind for kind in order[1:] if (kind * first <= 0).all())
        for kind in (first, second):
            words = dict(zip(("first", "second"), traits(kind), strict=True))
            system = prompt_named("attributes_response_v1").substitute(words)
            requests.append(replace(WRITING, prompt=one.prompt, system=system, seed=seed))
    return requests


def attributes_pairs(
    writer: Writer, asked: Sequence[Asked], seed: int = 0, progress: Progress | None = None
) -> Pairs:
    """A pair of contrasting responses to each prompt."""
    requests = attributes_requests(asked, seed)
    texts = writer.write(requests, "writing responses", progress)
    return Pairs.of(
        [(one.prompt, *texts[2 * i : 2 * i + 2]) for i, one in enumerate(asked)]  # type: ignore[misc]
    )


# -- PReF, appendix B.2: PRISM --------------------------------------------------------------------


def revision_pairs(
    writer: Writer,
    asked: Sequence[Asked],
    people: Sequence[Person],
    seed: int = 0,
    progress: Progress | None = None,
) -> Pairs:
    """Each prompt's response, and that response as a person drawn at random would rather have it.

    Where a prompt has no response yet the policy writes one. A revision is written from a critique.
    """
    plain = writer.write(plain_requests(asked, seed), "writing responses", progress)
    missing = iter(plain)
    given = [one.response if one.response is not None else next(missing) for one in asked]
    names = [person.user_id for person in people]
    told: list[dict[str, str] | None] = []
    for one, response in zip(asked, given, strict=True):
        person = people[int(hash_order(seed, f"revision\x1f{one.prompt}", names)[0])]
        texts = {"person": person.description, "prompt": one.prompt}
        told.append(None if response is None else texts | {"response": response})
    critiques = _fill(writer, "revision_critique_v1", told, "writing critiques", seed, progress)
    told = [
        None if texts is None or critique is None else texts | {"critique": critique}
        for texts, critique in zip(told, critiques, strict=True)
    ]
    revised = _fill(writer, "revision_v1", told, "writing revisions", seed, progress)
    return Pairs.of([(one.prompt, a, b) for one, a, b in zip(asked, given, revised, strict=True)])


def plain_requests(asked: Sequence[Asked], seed: int = 0) -> list[Request]:
    """For an answer to every prompt that has none."""
    return [replace(WRITING, prompt=one.prompt, seed=seed) for one in asked if one.response is None]


def _fill(
    writer: Writer,
    name: str,
    told: Sequence[Mapping[str, str] | None],
    step: str,
    seed: int,
    progress: Progress | None,
) -> list[str | None]:
    """What is written for each of the texts that a prompt of ours is filled with, None for None."""
    whole = [place for place, texts in enumerate(told) if texts is not None]
    prompts = [prompt_named(name).substitute(told[place] or {}) for place in whole]
    requests = [replace(WRITING, prompt=prompt, seed=seed) for prompt in prompts]
    written: list[str | None] = [None] * len(told)
    for place, text in zip(whole, writer.write(requests, step, progress), strict=True):
        written[place] = text
    return written
