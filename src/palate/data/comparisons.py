"""Comparisons of many users in columns: every text and user once, rows as integers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from palate.types import Comparison, Text, canonical

if TYPE_CHECKING:
    import datasets
    import pyarrow as pa

    from palate.errors import Problem

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PreferenceData:
    """B comparisons: for a prompt, a user preferred `chosen` to `rejected`.

    user_ids (U), prompts (P), responses (M) are the distinct values in order of first appearance;
    user, prompt, chosen, rejected are (B,) integers into them. items (N, 2) are the distinct
    (prompt, response) that occur, what a backbone encodes; chosen_item and rejected_item are (B,)
    rows of it, and `select` leaves it as it is, so that one feature table serves every part.
    group is (B,) into group_names, or None; weight (B,) positive and timestamp (B,) seconds, or
    None. other_columns were not read; left_out are rows that say nothing, so few that they are
    reported and no error.
    Load one with `PreferenceData.load`, which validates; the class itself trusts.
    """

    source: str
    user_ids: tuple[str, ...]
    prompts: tuple[Text, ...]
    responses: tuple[Text, ...]
    user: IntArray
    prompt: IntArray
    chosen: IntArray
    rejected: IntArray
    items: IntArray
    chosen_item: IntArray
    rejected_item: IntArray
    group_names: tuple[str, ...] = ()
    group: IntArray | None = None
    weight: FloatArray | None = None
    timestamp: FloatArray | None = None
    other_columns: tuple[str, ...] = ()
    left_out: tuple[Problem, ...] = ()

    @classmethod
    def load(
        cls,
        source: str | Path | pa.Table | datasets.Dataset | Sequence[dict[str, Any]],
        *,
        user: str | None = None,
    ) -> PreferenceData:
        """Read and validate comparisons.

        `source` is a Parquet, JSON Lines (also gzipped) or CSV file, an Arrow table, a
        `datasets.Dataset`, or a list of rows. `user` stands in where there is no user column.
        Raises `DataError` with every problem of the source.
        """
        from palate.data.sources import load  # the readers are not needed by who holds the data

        return load(source, user=user)

    @classmethod
    def inspect(cls, source: str | Path) -> tuple[PreferenceData | None, list[Problem]]:
        """Read the rows without fault, and list every problem of the others."""
        from palate.data.sources import inspect

        return inspect(source)

    def __len__(self) -> int:
        return len(self.user)

    def __iter__(self) -> Iterator[Comparison]:
        for p, c, r in zip(self.prompt, self.chosen, self.rejected, strict=True):
            yield Comparison(self.prompts[p], self.responses[c], self.responses[r])

    def select(self, rows: IntArray | NDArray[np.bool_]) -> PreferenceData:
        """Some of the rows, over the same users and texts."""
        optional: dict[str, Any] = {
            name: None if (column := getattr(self, name)) is None else column[rows]
            for name in ("group", "weight", "timestamp")
        }
        return replace(
            self,
            user=self.user[rows],
            prompt=self.prompt[rows],
            chosen=self.chosen[rows],
            rejected=self.rejected[rows],
            chosen_item=self.chosen_item[rows],
            rejected_item=self.rejected_item[rows],
            **optional,
        )

    def item_texts(self) -> list[tuple[Text, Text]]:
        """The (prompt, response) of every item."""
        return [(self.prompts[p], self.responses[r]) for p, r in self.items.tolist()]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the content, whatever the file format: the data's identity."""
        digest = hashlib.sha256()
        for words in (self.user_ids, self.group_names):
            _update(digest, words)
        for texts in (self.prompts, self.responses):
            _update(digest, map(canonical, texts))
        for column in (self.user, self.prompt, self.chosen, self.rejected, self.group):
            digest.update(b"-" if column is None else column.astype("<i8").tobytes())
        for values in (self.weight, self.timestamp):
            digest.update(b"-" if values is None else values.astype("<f8").tobytes())
        return digest.hexdigest()


def _update(digest: hashlib._Hash, words: Iterable[str]) -> None:
    for word in words:
        encoded = word.encode()
        digest.update(len(encoded).to_bytes(8, "little") + encoded)
