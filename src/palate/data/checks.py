"""What `data check` says: every problem of a file, and what the rows without one hold."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from palate.data.comparisons import IntArray, PreferenceData
from palate.data.splits import SplitSettings, make_split
from palate.errors import Problem, SplitError
from palate.types import Text


@dataclass(frozen=True)
class Quantiles:
    """Least, median, mean and most of some counts."""

    least: int
    median: float
    mean: float
    most: int

    @classmethod
    def of(cls, counts: IntArray) -> Quantiles:
        """Quantiles of at least one count."""
        return cls(
            int(counts.min()), float(np.median(counts)), float(counts.mean()), int(counts.max())
        )

    def __str__(self) -> str:
        return f"{self.least:,} to {self.most:,}, median {self.median:g}, mean {self.mean:.1f}"


@dataclass(frozen=True)
class Summary:
    """Comparisons in numbers.

    shared_pairs: distinct pairs of responses to a prompt that several users compared. repeated:
    rows that give an earlier answer of the same user again. contradictory: pairs of responses of
    which a user chose either. other_columns are not read.
    """

    comparisons: int
    users: int
    comparisons_per_user: Quantiles
    prompts: int
    responses: int
    words_per_response: Quantiles
    distinct_pairs: int
    shared_pairs: int
    repeated: int
    contradictory: int
    groups: int
    other_columns: tuple[str, ...]


@dataclass(frozen=True)
class CheckReport:
    """A file's problems, and the summary of the rows without (None if there are none)."""

    file: str
    problems: tuple[Problem, ...]
    summary: Summary | None

    @property
    def sound(self) -> bool:
        """Whether the file can be used as it is."""
        return not self.problems

    def to_json(self) -> dict[str, Any]:
        """One object: file, ok, summary, and all problems."""
        summary = None if self.summary is None else asdict(self.summary)
        problems = [{"row": p.row, "field": p.field, "message": p.message} for p in self.problems]
        return {"file": self.file, "ok": self.sound, "problems": problems, "summary": summary}

    def rows(self) -> list[tuple[str, Any]]:
        """The summary as lines for a table."""
        assert self.summary is not None
        return [
            (name.replace("_", " "), ", ".join(value) if isinstance(value, tuple) else value)
            for name, value in vars(self.summary).items()
        ]


def inspect_file(path: Path) -> CheckReport:
    """Read a file and report on all of it."""
    data, problems = PreferenceData.inspect(path)
    if data is None:
        return CheckReport(str(path), tuple(problems), None)
    try:
        make_split(data, SplitSettings())
    except SplitError as error:
        problems.extend(error.problems)
    return CheckReport(str(path), tuple(problems), summarise(data))


def summarise(data: PreferenceData) -> Summary:
    """Count what is in the data."""
    low = np.minimum(data.chosen_item, data.rejected_item)
    pair = low * len(data.items) + np.maximum(data.chosen_item, data.rejected_item)
    answer = np.stack([data.user, pair, data.chosen_item], axis=1)
    distinct_answers = np.unique(answer, axis=0)
    asked = np.unique(answer[:, :2], axis=0)
    pairs, askers = np.unique(asked[:, 1], return_counts=True)
    words = np.array([_words(text) for text in data.responses], dtype=np.int64)
    present = np.unique(np.concatenate([data.chosen, data.rejected]))
    return Summary(
        comparisons=len(data),
        users=len(np.unique(data.user)),
        comparisons_per_user=Quantiles.of(np.unique(data.user, return_counts=True)[1]),
        prompts=len(np.unique(data.prompt)),
        responses=len(present),
        words_per_response=Quantiles.of(words[present]),
        distinct_pairs=len(pairs),
        shared_pairs=int((askers > 1).sum()),
        repeated=len(data) - len(distinct_answers),
        contradictory=len(distinct_answers) - len(asked),
        groups=0 if data.group is None else len(np.unique(data.group)),
        other_columns=data.other_columns,
    )


def _words(text: Text) -> int:
    turns = [text] if isinstance(text, str) else [turn.content for turn in text]
    return sum(len(turn.split()) for turn in turns)
