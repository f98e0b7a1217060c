"""What the service answers, as frozen objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from palate.client.errors import ServiceError

T = TypeVar("T")
TextLike = str | list[dict[str, str]]


@dataclass(frozen=True)
class Scored:
    """A response's expected reward for a user; sd is None where the method measures none."""

    index: int
    score: float
    sd: float | None


@dataclass(frozen=True)
class Reranked:
    """A document in a user's order."""

    index: int
    relevance_score: float
    reward: float
    sd: float | None
    p_best: float


@dataclass(frozen=True)
class Feedback:
    """What was kept: the answers' numbers among the user's, and whether they were there before."""

    user: str
    answers: list[int]
    repeated: bool


@dataclass(frozen=True)
class User:
    """What is known of a user under the model that serves."""

    user: str
    model: str
    answers: int
    uncertainty: float | None
    mean: list[float]
    weights: list[float] | None


@dataclass(frozen=True)
class Answer:
    """An entry of a user's log: an answer, a withdrawal of `target`, or an expiry up to it."""

    number: int
    kind: str
    received: float
    prompt: TextLike | None = None
    chosen: TextLike | None = None
    rejected: TextLike | None = None
    weight: float | None = None
    tie: bool | None = None
    time: float | None = None
    origin: str | None = None
    completion: str | None = None
    target: int | None = None


@dataclass(frozen=True)
class Withdrawn:
    """An answer that was taken back, and how many are left."""

    user: str
    answer: int
    repeated: bool
    answers_left: int


@dataclass(frozen=True)
class Erased:
    """How much is gone; traces: whether the database's files may hold bytes of it for a while."""

    user: str
    answers: int
    completions: int
    traces: bool


@dataclass(frozen=True)
class Question:
    """A pair to ask about; p_a: the probability that the user prefers `response_a`."""

    index: int
    prompt: TextLike
    response_a: TextLike
    response_b: TextLike
    score: float | None
    p_a: float


@dataclass(frozen=True)
class Questions:
    """Pairs, best first; settled: whether it is time to stop asking."""

    questions: list[Question]
    change: float | None
    settled: bool | None


def read(kind: type[T], content: Mapping[str, Any]) -> T:
    """An object from JSON; what a later service adds is left out."""
    names = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    try:
        return kind(**{name: value for name, value in content.items() if name in names})
    except TypeError as error:
        message = f"the answer is no {kind.__name__}; do client and service have the same version?"
        raise ServiceError(200, "unreadable", message) from error


def read_list(kind: type[T], content: Mapping[str, Any], name: str = "data") -> list[T]:
    """Several of them."""
    rows = content.get(name)
    if not isinstance(rows, list):
        raise ServiceError(200, "unreadable", f"the answer has no list {name!r}")
    return [read(kind, row) for row in rows]
