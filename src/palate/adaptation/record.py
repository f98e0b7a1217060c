"""What one user has answered, as algebra: add, withdraw and combine; all else follows from it."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from palate.errors import PosteriorError
from palate.types import Comparison, canonical


@dataclass(frozen=True)
class Answer:
    """What is kept of an answer beside its row of evidence.

    key: a hash that makes it the same answer wherever it is given. time: when it was last given,
    in UTC seconds since 1970, or None where nobody said. turn: how often it was given and withdrawn
    in all, so that it is odd while the answer stands; the higher turn of two devices is the later.
    weight: in [0, 1], what it counts before any ageing: half of a tie for each of its two sides.
    """

    key: str
    time: float | None = None
    turn: int = 1
    weight: float = 1.0


@dataclass(frozen=True, eq=False)
class Record:
    """A user's answers under one model.

    rows: (n, E) evidence of the answers. answers: n of them, each key once. withdrawn: the turn, an
    even one, of every key that was taken back: it keeps other devices from bringing it back.
    """

    rows: Tensor
    answers: tuple[Answer, ...] = ()
    withdrawn: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.answers)

    @property
    def keys(self) -> dict[str, int]:
        """Where each answer stands."""
        return {answer.key: row for row, answer in enumerate(self.answers)}

    @property
    def contradictory(self) -> int:
        """How many answers say the opposite of another."""
        keys = self.keys
        return sum(opposite(key) in keys for key in keys)

    def add(self, times: Mapping[str, float | None], rows: Tensor) -> Record:
        """With answers given at some times; `rows` are those of the keys that do not stand yet.

        An answer that stands is evidence once: it is as given when it was last given.
        """
        held = self.keys
        fresh = [key for key in times if key not in held]
        standing = [
            replace(answer, time=latest(answer.time, times.get(answer.key)))
            for answer in self.answers
        ]
        added = [Answer(key, times[key], self.withdrawn.get(key, 0) + 1) for key in fresh]
        withdrawn = {key: turn for key, turn in self.withdrawn.items() if key not in times}
        return Record(torch.cat([self.rows, rows]), (*standing, *added), withdrawn)

    def withdraw(self, keys: Sequence[str]) -> Record:
        """Without some answers; raises `PosteriorError` where one does not stand."""
        held = self.keys
        for number, key in enumerate(keys, 1):
            if key not in held:
                state = "was withdrawn already" if key in self.withdrawn else "was never given"
                raise PosteriorError(
                    f"answer {number} of {len(keys)} to withdraw {state}: give prompt, chosen and "
                    "rejected as they were answered, and only answers that stand"
                )
        gone = set(keys)
        turns = {key: self.answers[held[key]].turn + 1 for key in keys}
        kept = [row for row, answer in enumerate(self.answers) if answer.key not in gone]
        answers = tuple(self.answers[row] for row in kept)
        return Record(self.rows[kept], answers, {**self.withdrawn, **turns})

    def combine(self, other: Record) -> Record:
        """The union of two devices' answers: of each key what happened last; commutative.

        Answers stand in the order of time and key.
        """
        found: dict[str, tuple[Answer, Tensor]] = {}
        for record in (self, other):
            for answer, row in zip(record.answers, record.rows, strict=True):
                known = found.get(answer.key, (answer, row))
                found[answer.key] = max(known, (answer, row), key=_rank)
        withdrawn = _later(self.withdrawn, other.withdrawn)
        withdrawn = {
            key: turn
            for key, turn in withdrawn.items()
            if key not in found or turn > found[key][0].turn
        }
        standing = [pair for key, pair in found.items() if key not in withdrawn]
        standing.sort(key=lambda pair: (pair[0].time or 0.0, pair[0].key))
        rows = torch.stack([row for _, row in standing]) if standing else self.rows[:0]
        return Record(rows, tuple(answer for answer, _ in standing), withdrawn)


def _rank(given: tuple[Answer, Tensor]) -> tuple[int, float, bytes]:
    """Which of two devices' versions of an answer counts: the later; rows differ by rounding."""
    answer, row = given
    time = float("-inf") if answer.time is None else answer.time
    return answer.turn, time, row.numpy().tobytes()


def _later(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {key: max(one.get(key, 0), other.get(key, 0)) for key in sorted({*one, *other})}


def latest(*times: float | None) -> float | None:
    """The last of the times that are known."""
    return max((time for time in times if time is not None), default=None)


# -- keys -----------------------------------------------------------------------------------------


def answer_key(comparison: Comparison) -> str:
    """What makes an answer the same answer: its prompt and two texts, and which was chosen."""
    chosen, rejected = canonical(comparison.chosen), canonical(comparison.rejected)
    first, second = sorted([chosen, rejected])
    digest = _hash(text.encode() for text in (canonical(comparison.prompt), first, second))
    return digest + ("<" if chosen == first else ">")


def opposite(key: str) -> str | None:
    """The key of the opposite answer to the same question; None for one given as hidden states."""
    return {"<": key[:-1] + ">", ">": key[:-1] + "<"}.get(key[-1:])


def state_keys(rows: Tensor, record: Record) -> list[str]:
    """Keys of answers given as hidden states: of their evidence, numbered where it is the same."""
    taken, numbers = record.keys.keys() | record.withdrawn.keys(), Counter[str]()
    keys = []
    for row in rows:
        digest = _hash([row.numpy().tobytes()])
        while (key := f"{digest}.{numbers[digest]}") in taken:
            numbers[digest] += 1
        numbers[digest] += 1
        keys.append(key)
    return keys


def _hash(parts: Iterable[bytes]) -> str:
    digest = hashlib.blake2b(digest_size=12)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()
