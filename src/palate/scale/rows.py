"""Rows of a piece, checked as a file is: comparisons, or candidates to score."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from palate.data.arrow import table_of_arrow
from palate.data.comparisons import IntArray, PreferenceData
from palate.data.table import Column
from palate.data.validation import FaultError, parse_text, parse_user_id, validate
from palate.errors import DataError, Problem
from palate.scale.source import Piece, Source, open_source
from palate.types import Text

USERS = ("user_id", "user")
COMPARISON = ("prompt", "chosen", "rejected")
CANDIDATE = ("prompt", "response")


def needed(source: Source, *texts: Sequence[str], users: bool) -> list[str]:
    """The columns to read: the users' and those of `texts`, the first list that is there whole.

    Raises `DataError` where a column is missing.
    """
    user = [name for name in USERS if name in source.columns][: int(users)]
    wanted = next((list(t) for t in texts if set(t) <= set(source.columns)), None)
    if wanted is not None and (user or not users):
        extra = [name for name in ("tie",) if name in source.columns and "chosen" in wanted]
        return [*user, *wanted, *extra]
    expected = " or ".join(", ".join([*["user_id (or user)"][: int(users)], *t]) for t in texts)
    missing = [name for name in texts[0] if name not in source.columns]
    missing += [USERS[0]] if users and not user else []
    found = ", ".join(name[:40] for name in source.columns[:20]) or "none in every file"
    message = f"column is missing; found {found}; expected the columns {expected}"
    raise DataError([Problem(source.path, None, name, message) for name in missing])


def check_columns(path: Path, texts: Sequence[str]) -> None:
    """Raise `DataError` where an input cannot be read, or lacks a column."""
    needed(open_source(path), texts, users=True)


def comparisons(
    piece: Piece, columns: Sequence[str], left_out: Callable[[int], None]
) -> Iterator[PreferenceData]:
    """The comparisons of a piece, batch by batch; tells how many rows say nothing.

    Raises `DataError` with the rows of the file that are faulty.
    """
    for first, table in piece.batches(columns):
        read = table_of_arrow(piece.path, table)
        data, problems = validate(replace(read, rows=read.rows + first), user="nobody")
        faults = [problem for problem in problems if not problem.uninformative]
        if faults:
            raise DataError(faults)
        left_out(len(problems))
        if data is not None:
            yield data


@dataclass(frozen=True, eq=False)
class Candidates:
    """Responses of a batch of rows: distinct texts, and which of them each row (n,) has.

    table: the rows as they were given. first: the place of the first row in the input.
    items (N, 2) are the distinct (prompt, response); item (n,) rows of it.
    """

    table: pa.Table
    first: int
    user_ids: list[str]
    user: IntArray
    prompts: list[Text]
    prompt: IntArray
    responses: list[Text]
    items: IntArray
    item: IntArray

    def item_texts(self) -> list[tuple[Text, Text]]:
        """The (prompt, response) of every item."""
        return [(self.prompts[p], self.responses[r]) for p, r in self.items.tolist()]


def candidates(piece: Piece, columns: Sequence[str]) -> Iterator[Candidates]:
    """The candidates of a piece, batch by batch; raises as `comparisons` does."""
    for first, table in piece.batches(columns):
        rows = Path(piece.path), first
        # the reader of tables knows comparisons: a response stands where the chosen one does
        names = ["chosen" if name == "response" else name for name in table.column_names]
        read = table_of_arrow(piece.path, table.rename_columns(names)).columns
        user = next(
            (read[name] for name in USERS if name in read), Column(["nobody"], _zeros(table))
        )
        faults: list[Problem] = []
        user_ids = _parsed(user, parse_user_id, "user_id", rows, faults)
        prompts = _parsed(read["prompt"], parse_text, "prompt", rows, faults)
        responses = _parsed(read["chosen"], parse_text, "response", rows, faults)
        if faults:
            raise DataError(sorted(faults, key=lambda fault: fault.row or 0))
        prompt, response = read["prompt"].codes, read["chosen"].codes
        code, item = np.unique(prompt * len(responses) + response, return_inverse=True)
        items = np.stack(np.divmod(code, len(responses)), axis=1)
        place = piece.before - piece.first + first
        yield Candidates(
            table, place, user_ids, user.codes, prompts, prompt, responses, items, item
        )


def _zeros(table: pa.Table) -> IntArray:
    return np.zeros(len(table), dtype=np.int64)


def _parsed(
    column: Column,
    parse: Callable[[Any], Any],
    field: str,
    rows: tuple[Path, int],
    faults: list[Problem],
) -> list[Any]:
    """The distinct values of a column; a faulty one goes to `faults`, by row."""
    parsed: list[Any] = []
    used = int(column.codes.max()) + 1  # behind them may stand a null that no row has
    for number, value in enumerate(column.values[:used]):
        try:
            parsed.append(parse(value))
        except FaultError as fault:
            parsed.append(None)
            path, first = rows
            faulty = np.flatnonzero(column.codes == number) + first + 1
            faults += [Problem(str(path), int(row), field, str(fault)) for row in faulty]
    return parsed
