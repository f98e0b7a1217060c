"""What a log says, in a model's words: the state from which a posterior follows.

A statement is one side of an answer: its key, its time, what it counts, and its row of evidence. An
answer makes one, a tie two of half the weight. A withdrawn answer's stay, marked, since they tell
how often the key was given and taken back. The state is an array of statements, 34 bytes and the
evidence each, and a function of the log's entries alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from palate.adaptation.record import Answer, Record, answer_key
from palate.service.store.entries import Entry, NewAnswer
from palate.types import Comparison

Statements = NDArray[np.void]


def layout(width: int) -> np.dtype[np.void]:
    """A statement with a row of evidence of E = `width` numbers.

    key: 12 bytes of hash, and '<' or '>' for the side that was chosen.
    """
    return np.dtype(
        [
            ("number", "<i8"),
            ("time", "<f8"),
            ("weight", "<f4"),
            ("withdrawn", "u1"),
            ("key", "S13"),
            ("row", "<f4", (width,)),
        ]
    )


def read(state: bytes, width: int) -> Statements:
    """The statements that bytes hold; raises `ValueError` where they hold none."""
    return np.frombuffer(state, dtype=layout(width))


def sides(answer: NewAnswer) -> list[Comparison]:
    """The comparisons that an answer comes to: of a tie, one each way."""
    given = answer.comparison
    if not answer.tie:
        return [given]
    return [given, Comparison(given.prompt, given.rejected, given.chosen)]


def of_answer(entry: Entry, answer: NewAnswer, rows: NDArray[np.float32]) -> Statements:
    """The statements of an answer, with its evidence (1 or 2, E)."""
    made: Any = np.zeros(len(rows), dtype=layout(rows.shape[1]))
    made["number"] = entry.number
    made["time"] = entry.received if answer.time is None else answer.time
    made["weight"] = answer.weight / len(rows)
    made["key"] = [_packed(answer_key(side)) for side in sides(answer)]
    made["row"] = rows
    return made  # type: ignore[no-any-return]


def fold(
    statements: Statements, entries: Sequence[Entry], fresh: Sequence[Statements]
) -> Statements:
    """The state after more entries; `fresh` are the statements of the answers among them."""
    made: Any = np.concatenate([statements, *fresh])
    for entry in entries:
        if entry.kind == "withdrawal":
            made["withdrawn"][made["number"] == entry.target] = 1
        elif entry.kind == "expiry":
            made = made[made["number"] > entry.target]
    return made  # type: ignore[no-any-return]


def answers_of(entries: Sequence[Entry]) -> list[tuple[Entry, NewAnswer]]:
    """The answers among some entries whose evidence counts: no other entry takes them back."""
    gone = {entry.target for entry in entries if entry.kind == "withdrawal"}
    cut = max((entry.target or 0 for entry in entries if entry.kind == "expiry"), default=0)
    return [
        (entry, entry.answer)
        for entry in entries
        if entry.answer is not None and entry.number not in gone and entry.number > cut
    ]


def record_of(statements: Statements) -> Record:
    """The answers that stand, by time and key, in whatever order they came.

    What was said more than once counts once: as much as it counted most, as given last.
    """
    values: Any = statements
    columns = (values[name].tolist() for name in ("key", "time", "weight", "withdrawn"))
    found: dict[bytes, tuple[float, float, int]] = {}
    turns: dict[bytes, int] = {}
    for place, (key, time, weight, withdrawn) in enumerate(zip(*columns, strict=True)):
        if withdrawn:
            turns[key] = turns.get(key, 0) + 2
        elif key in found:
            before = found[key]
            found[key] = (max(before[0], time), max(before[1], weight), before[2])
        else:
            found[key] = (time, weight, place)
    order = sorted(found, key=lambda key: (found[key][0], key))
    answers = tuple(
        Answer(_unpacked(key), found[key][0], turns.get(key, 0) + 1, found[key][1]) for key in order
    )
    withdrawn = {_unpacked(key): turn for key, turn in turns.items() if key not in found}
    places = [found[key][2] for key in order]
    return Record(torch.from_numpy(values["row"][places]), answers, withdrawn)


def _packed(key: str) -> bytes:
    return bytes.fromhex(key[:-1]) + key[-1].encode()


def _unpacked(key: bytes) -> str:
    return key[:-1].hex() + key[-1:].decode()
