"""What became of every question that a judge was asked, and how much the order decided."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from palate.data.benchmarks.role_play import RolePlay
from palate.evaluation.metrics import UserMean, over_users

Outcome = Literal["answered", "malformed", "failed"]


@dataclass(frozen=True)
class Verdict:
    """How one question to one judge ended.

    first: how far the response shown first is preferred, 0, 1/2 or 1; None where that is not known.
    tries: answers that were read. words: the last answer where it is malformed, the error where
    there is none. known: it was answered in an earlier run.
    """

    outcome: Outcome
    first: float | None
    tries: int
    words: str = ""
    known: bool = False

    def __post_init__(self) -> None:
        expected = (0, 0.5, 1) if self.outcome == "answered" else (None,)
        if self.outcome not in get_args(Outcome) or self.first not in expected:
            raise ValueError(f"a verdict that is {self.outcome} has first {self.first}")


@dataclass(frozen=True)
class Account:
    """Questions by how they ended; none is missing and none counts twice.

    known: those of `asked` that were answered in an earlier run. tries: answers read in all.
    """

    asked: int
    answered: int
    malformed: int
    failed: int
    known: int
    tries: int

    def __post_init__(self) -> None:
        if self.asked != self.answered + self.malformed + self.failed:
            raise ValueError(f"questions are not accounted for: {self}")

    @classmethod
    def of(cls, verdicts: Sequence[Verdict]) -> Account:
        """The account of some questions."""
        ends = Counter(verdict.outcome for verdict in verdicts)
        return cls(
            asked=len(verdicts),
            answered=ends["answered"],
            malformed=ends["malformed"],
            failed=ends["failed"],
            known=sum(verdict.known for verdict in verdicts),
            tries=sum(verdict.tries for verdict in verdicts),
        )


@dataclass(frozen=True)
class Judgement:
    """What a panel says of a pair: for every judge and sample, the verdicts in both orders.

    votes: (a_first, b_first) of each; the orders are shown alike, so that what a judge grants to a
    place cancels.
    """

    play: RolePlay
    votes: tuple[tuple[Verdict, Verdict], ...]

    @property
    def orders(self) -> list[tuple[float, float]]:
        """How far A is preferred with A first and with B first, where both are known."""
        return [
            (a.first, 1 - b.first)
            for a, b in self.votes
            if a.first is not None and b.first is not None
        ]

    @property
    def preference(self) -> float | None:
        """1 if the majority prefers A, 0 if B, 1/2 for a tie; None where no judge gave both orders.

        A judge votes for what it prefers on the mean over its orders: one whom the order turns
        around votes for neither.
        """
        signs = [np.sign(a + b - 1) for a, b in self.orders]
        return float((np.sign(sum(signs)) + 1) / 2) if signs else None

    def to_row(self) -> dict[str, Any]:
        """One judgement in the form of `prism_roleplay`: means over the judges, null if unread."""
        orders = np.array(self.orders).reshape(-1, 2)
        means = orders.mean(0).tolist() if len(orders) else [None, None]
        return {
            "user_id": self.play.person.user_id,
            "prompt": self.play.prompt,
            "response_a": self.play.response_a,
            "response_b": self.play.response_b,
            "a_first": means[0],
            "b_first": means[1],
        }


@dataclass(frozen=True)
class PositionBias:
    """What a judge grants to places, over the pairs that it judged in both orders.

    first: share of verdicts for the response shown first (a tie is one half), 1/2 without bias, as
    each response stands first once. agreement: share of pairs with the same verdict either way
    round. ties: share of verdicts that are ties.
    """

    judge: str
    first: UserMean
    agreement: float
    ties: float

    @classmethod
    def of(cls, judge: str, pairs: Sequence[tuple[Verdict, Verdict]]) -> PositionBias | None:
        """Measured on verdicts with A first and with B first; None where no pair has both."""
        both = np.array(
            [(a.first, b.first) for a, b in pairs if a.first is not None and b.first is not None]
        )
        if not len(both):
            return None
        return cls(
            judge=judge,
            first=over_users(both.mean(1)),
            agreement=float((both.sum(1) == 1).mean()),
            ties=float((both == 0.5).mean()),
        )

    def to_json(self) -> dict[str, Any]:
        """Numbers for programs; an interval that is none (a single pair) is null."""
        low, high = self.first.interval
        one = self.first.users < 2
        return {
            "judge": self.judge,
            "pairs": self.first.users,
            "first": self.first.mean,
            "interval": None if one else [low, high],
            "agreement": self.agreement,
            "ties": self.ties,
        }
