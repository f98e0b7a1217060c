"""One user's answers under both tests: given with care, and still fitting what was learned."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from palate.adaptation.reader import Reader
from palate.data.comparisons import IntArray, PreferenceData
from palate.errors import DataError, Problem
from palate.honesty.consistency import Consistency, consistency
from palate.honesty.prequential import prequential
from palate.honesty.surprise import RATE, detect, threshold_of, total_surprise
from palate.progress import Progress

#: Standard deviations of total surprise from which answers count as badly predicted (p < 0.005).
BADLY_PREDICTED = 2.58


@dataclass(frozen=True)
class AnswerCheck:
    """What is to be said of one user's answers; answers are numbered from 1 in their order.

    consistency: of repeated pairs. predicted: answers that were predicted, each pair's first
    showing. surprise: their total surprise in standard deviations, near 0 where predictions hold.
    statistic, threshold: largest cumulative sum, in nats, and where it alarms. since: the first
    answer that no longer fits, and raised: the one at which that was seen; None where all fit.
    """

    consistency: Consistency
    predicted: int
    surprise: float
    statistic: float
    threshold: float | None
    since: int | None
    raised: int | None

    @property
    def verdict(self) -> str:
        """In plain words, the most serious first."""
        if not self.predicted:
            return "there are no answers"
        if self.consistency.verdict == "careless":
            return "pairs shown again are answered as if at random: no taste can be told from them"
        if self.since is not None:
            return (
                f"since answer {self.since} the answers no longer fit what was learned from those "
                "before: the taste may have changed; let older answers age, or adapt from there on"
            )
        if self.surprise > BADLY_PREDICTED:
            return "the answers are worse predicted than they should be, from the start"
        return "nothing speaks against one taste"

    def to_json(self) -> dict[str, Any]:
        """The figures and the verdict."""
        return {**asdict(self), "verdict": self.verdict}


@torch.no_grad()
def check_answers(
    reader: Reader,
    answers: PreferenceData,
    *,
    rate: float = RATE,
    seed: int = 0,
    progress: Progress | None = None,
) -> AnswerCheck:
    """Check one user's answers in the order of their timestamps, or as they stand without any.

    rate: probability that 100 answers of a taste that stays raise an alarm. A pair shown again is
    left to consistency: what it was answered before predicts it too well to tell of the taste.
    Raises `DataError` for answers of several users, `ValueError` for a rate out of range.
    """
    names = np.unique(answers.user)
    if len(names) > 1:
        message = f"answers of {len(names)} users; give one user's alone"
        raise DataError([Problem(answers.source, None, "user_id", message)])
    if answers.timestamp is not None:
        answers = answers.select(np.argsort(answers.timestamp, kind="stable"))
    rows = first_showings(answers)
    logit = prequential(reader.method, reader.pairs(list(answers.select(rows)), progress))
    alone = torch.tensor([0, len(rows)])
    threshold = None
    since = raised = -1
    statistic = 0.0
    if len(rows):
        threshold = threshold_of(logit, torch.Generator().manual_seed(seed), rate=rate)
        drift = detect(logit, alone, threshold)
        since, raised = int(drift.since), int(drift.raised)
        statistic = float(drift.statistic)
    return AnswerCheck(
        consistency=consistency(answers),
        predicted=len(rows),
        surprise=float(total_surprise(logit, alone)),
        statistic=statistic,
        threshold=threshold,
        since=None if since < 0 else int(rows[since]) + 1,
        raised=None if raised < 0 else int(rows[raised]) + 1,
    )


def first_showings(answers: PreferenceData) -> IntArray:
    """The rows (n,) of one user in which a pair, either way round, is shown for the first time."""
    items = np.sort(np.stack([answers.chosen_item, answers.rejected_item], axis=1), axis=1)
    first: IntArray = np.unique(items, axis=0, return_index=True)[1]
    return np.sort(first)
