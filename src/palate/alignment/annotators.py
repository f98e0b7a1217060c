"""Role-play annotators: a data set of comparisons, made and judged by language models.

PReF's two protocols (appendix B): on attributes, every user judges a pair of contrasting responses
to each prompt; on PRISM, a response and its revision are judged by people drawn from the survey.
Each pair is shown in both orders, and the preference is the mean of the two.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from palate.alignment.annotators_pairs import (
    Asked,
    Pairs,
    attributes_pairs,
    attributes_people,
    revision_pairs,
)
from palate.alignment.annotators_writing import Estimate, Writer
from palate.alignment.judge import Judged, Panel
from palate.alignment.judge_questions import JudgeSettings
from palate.alignment.policy import Policy
from palate.alignment.request_cache import RequestCache
from palate.alignment.spending import ROOM, Billed, Tokens
from palate.data.benchmarks.prism_roleplay import comparisons_of, read_judgements
from palate.data.benchmarks.role_play import Person, RolePlay, role_plays
from palate.data.benchmarks.rows import Row
from palate.errors import DataError, Problem, SettingsError
from palate.files import write_atomically
from palate.progress import Progress

#: Files of an annotation: what was written and answered so far, and the results.
TEXTS, VERDICTS = "texts.sqlite", "verdicts.sqlite"
JUDGEMENTS, COMPARISONS, CARD = "judgements.jsonl", "comparisons.jsonl", "annotation.json"


@dataclass(frozen=True)
class AnnotationSettings:
    """protocol: "attributes" or "prism". judges: people before whom a pair is put (prism alone)."""

    protocol: Literal["attributes", "prism"] = "attributes"
    judges: int = 50
    seed: int = 0
    concurrency: int = 8

    def __post_init__(self) -> None:
        if self.protocol not in ("attributes", "prism"):
            raise SettingsError(f"protocol is {self.protocol!r}; expected attributes or prism")
        if self.judges < 1 or self.concurrency < 1:
            raise SettingsError(
                f"judges is {self.judges}, concurrency {self.concurrency}; expected 1 or more"
            )


@dataclass(frozen=True)
class AnnouncedAnnotation:
    """What annotators will do and cost at most, before they do anything.

    Where responses are not written yet, the questions about them are counted with responses as
    long as they may get; when they are there, their questions are announced to the letter.
    """

    texts: int
    questions: int
    tokens: Tokens
    cost: float

    def __str__(self) -> str:
        return (
            f"{self.texts:,} texts to write and {self.questions:,} questions to ask; at most "
            f"{self.tokens.prompt:,} tokens read and {self.tokens.completion:,} written, cost at "
            f"most {self.cost:.4f}"
        )


@dataclass(frozen=True)
class Annotated:
    """Judgements and the comparisons that follow from them, rows of the canonical forms."""

    judgements: list[dict[str, Any]]
    comparisons: list[dict[str, Any]]
    left_out: dict[str, int]
    judged: Judged

    def to_json(self) -> dict[str, Any]:
        """Everything but the rows, for programs."""
        counts = {"judgements": len(self.judgements), "comparisons": len(self.comparisons)}
        return {**counts, "left_out": self.left_out, **self.judged.to_json()}


class Annotators:
    """A writer and a judge, which may be one model, in a folder that remembers what they said."""

    def __init__(
        self,
        writer: Policy,
        judge: Policy,
        folder: Path,
        settings: AnnotationSettings | None = None,
        people: Sequence[Person] | None = None,
    ) -> None:
        self.settings = settings or AnnotationSettings()
        if (self.settings.protocol == "prism") != bool(people):
            raise SettingsError("the protocol prism needs people, and attributes has its own")
        self.people = list(people) if people else attributes_people()
        self.folder = folder
        texts = RequestCache(folder / TEXTS)
        self._writer = Writer(writer, texts, self.settings.concurrency)
        asked = JudgeSettings(
            instructions="role_play_v1",
            seed=self.settings.seed,
            concurrency=self.settings.concurrency,
        )
        self._panel = Panel([judge], asked, RequestCache(folder / VERDICTS))

    def announce(self, asked: Sequence[Asked]) -> AnnouncedAnnotation:
        """What is left to do and its cost at most; nothing is sent.

        Raises `PolicyError` where a budget does not hold that much.
        """
        _require_different(asked)
        estimate = Estimate(self._writer)
        plays = self._plays(self._pairs(estimate, asked, None))
        judging = self._panel.announce(plays)
        writing = estimate.cost().times(ROOM)
        writer, judge, cost = self._writer.policy, self._panel.judges[0], judging.cost
        if isinstance(writer, Billed):
            cost += writer.spending.prices.of(writing)
            shared = isinstance(judge, Billed) and judge.spending is writer.spending
            writer.spending.announce(writing + judging.tokens if shared else writing)
        questions = judging.questions - judging.known
        return AnnouncedAnnotation(len(estimate.missing), questions, writing + judging.tokens, cost)

    def run(self, asked: Sequence[Asked], progress: Progress | None = None) -> Annotated:
        """Write the responses and judge them; stopped at any time, it goes on where it was.

        Raises `PolicyError` before anything is sent where a budget is too small.
        """
        self.announce(asked)
        pairs = self._pairs(self._writer, asked, progress)
        judged = self._panel.judge(self._plays(pairs), progress)
        judgements = [judgement.to_row() for judgement in judged.judgements]
        rows = [Row(JUDGEMENTS, number, row) for number, row in enumerate(judgements, 1)]
        comparisons, flaws = comparisons_of(read_judgements(rows)) if rows else ([], {})
        return Annotated(judgements, comparisons, pairs.left_out | flaws, judged)

    def write(self, annotated: Annotated) -> dict[str, str]:
        """Put the rows beside what was asked; the files by name, with what is in them."""
        for name, rows in (
            (JUDGEMENTS, annotated.judgements),
            (COMPARISONS, annotated.comparisons),
        ):
            lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            write_atomically(self.folder / name, lines)
        card = {"settings": vars(self.settings), "writer": self._writer.policy.name}
        card |= {"judge": self._panel.judges[0].name, **annotated.to_json()}
        write_atomically(self.folder / CARD, json.dumps(card, indent=1) + "\n")
        return {
            JUDGEMENTS: f"{len(annotated.judgements):,} judgements, both orders",
            COMPARISONS: f"{len(annotated.comparisons):,} comparisons",
            CARD: "how they were made, and what was left out",
        }

    def _pairs(self, writer: Writer, asked: Sequence[Asked], progress: Progress | None) -> Pairs:
        seed = self.settings.seed
        if self.settings.protocol == "attributes":
            return attributes_pairs(writer, asked, seed, progress)
        return revision_pairs(writer, asked, self.people, seed, progress)

    def _plays(self, pairs: Pairs) -> list[RolePlay]:
        everybody = self.settings.protocol == "attributes"
        judges = len(self.people) if everybody else self.settings.judges
        return list(role_plays(self.people, pairs.pairs, judges=judges, seed=self.settings.seed))


def _require_different(asked: Sequence[Asked]) -> None:
    """Raise `DataError` for a prompt without words, or one that is there twice."""
    if not asked:
        raise DataError("there is no prompt to annotate")
    seen: dict[str, int] = {}
    problems = []
    for row, one in enumerate(asked, 1):
        if not one.prompt.strip():
            problems.append(Problem("prompts", row, "prompt", "the text is empty; leave it out"))
        elif seen.setdefault(one.prompt, row) != row:
            fault = f"stands in row {seen[one.prompt]} already; leave it out"
            problems.append(Problem("prompts", row, "prompt", fault))
    if problems:
        raise DataError(problems)
