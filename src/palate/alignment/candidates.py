"""Candidate answers of a policy: sampled, or written in given styles; near duplicates removed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from palate.alignment.policy import Policy, Request
from palate.data.synthetic.near_copies import Shingles, jaccard, shingles
from palate.errors import PolicyError

#: Two answers of which this share of their runs of words is in common are one.
NEAR = 0.8
#: Words of a run.
RUN = 3
WORD = re.compile(r"\w")


@dataclass(frozen=True)
class Candidate:
    """An answer and the style that it was asked for in, None for the policy's own."""

    text: str
    style: str | None = None


@dataclass(frozen=True)
class Candidates:
    """Distinct answers to one prompt in the order of their sampling, and what they took.

    removed: answers left out, being empty or a near duplicate of one before.
    """

    request: Request
    candidates: tuple[Candidate, ...]
    removed: int
    prompt_tokens: int
    completion_tokens: int

    @property
    def texts(self) -> list[str]:
        """The answers alone."""
        return [candidate.text for candidate in self.candidates]


def draw_candidates(policy: Policy, request: Request, styles: Sequence[str] = ()) -> Candidates:
    """`request.count` answers, minus near duplicates; the first is the policy's plain answer.

    styles: system prompts to write under, one after the other in turns with none at all, such as
    one a basis by its label; each stands behind the request's own. Raises `PolicyError` where
    nothing but empty answers came.
    """
    asked = _by_style(request, styles)
    drawn: dict[int, Candidate] = {}
    prompt_tokens = completion_tokens = 0
    for number, (style, places) in enumerate(asked.items()):
        system = "\n".join(filter(None, (request.system, style))) or None
        # styles must not write with the same random numbers: they would write alike
        part = replace(request, system=system, count=len(places), seed=request.seed + number)
        sampled = policy.sample(part)
        prompt_tokens += sampled.prompt_tokens
        completion_tokens += sampled.completion_tokens
        drawn |= zip(places, (Candidate(text, style) for text in sampled.texts), strict=True)
    candidates = [drawn[place] for place in sorted(drawn)]
    kept = [candidates[i] for i in distinct([candidate.text for candidate in candidates])]
    if not kept:
        raise PolicyError(
            f"{policy.name!r} gave {len(candidates)} empty answers: raise max_tokens, or look at "
            "what it writes"
        )
    removed = len(candidates) - len(kept)
    return Candidates(request, tuple(kept), removed, prompt_tokens, completion_tokens)


def distinct(texts: Sequence[str], near: float = NEAR) -> list[int]:
    """Places of the texts that are not empty and no near duplicates of one before.

    Two texts are near duplicates where they are equal but for case, spaces and punctuation, or
    where the Jaccard overlap of their runs of three words is `near` or more.
    """
    kept: list[int] = []
    runs: list[Shingles] = []
    for place, text in enumerate(texts):
        own = _runs(text)
        if text.strip() and all(jaccard(own, other) < near for other in runs):
            kept.append(place)
            runs.append(own)
    return kept


def _by_style(request: Request, styles: Sequence[str]) -> dict[str | None, list[int]]:
    """Places of the answers by style: none first, then each in turn."""
    turns: list[str | None] = [None, *dict.fromkeys(styles)]
    found: dict[str | None, list[int]] = {}
    for place in range(request.count):
        found.setdefault(turns[place % len(turns)], []).append(place)
    return found


def _runs(text: str) -> Shingles:
    """Runs of three words, without case and punctuation; signs alone are their own run."""
    if not WORD.search(text):
        return frozenset([tuple(text.split())])
    return shingles(text.casefold(), RUN)
