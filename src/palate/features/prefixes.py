"""Texts in rows that hold what they begin with in common once: a prompt, then its answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from palate.features.batches import LENGTH_MULTIPLE

Ids = list[int]


@dataclass(frozen=True)
class SharedRow:
    """One row of tokens: a prefix, then what follows it in each of some texts.

    places: of the texts. prefix: their common tokens. suffixes: what each has after them, one
    token at least.
    """

    places: tuple[int, ...]
    prefix: Ids
    suffixes: tuple[Ids, ...]

    def __len__(self) -> int:
        return len(self.prefix) + sum(map(len, self.suffixes))


def share_prefixes(texts: Sequence[Ids], groups: Sequence[int], tokens: int) -> list[SharedRow]:
    """Rows of at most `tokens` tokens (a longer text has one of its own), the longest first.

    groups: which texts begin alike, by a number each, such as that of their prompt.
    """
    members: dict[int, list[int]] = {}
    for place, group in enumerate(groups):
        members.setdefault(group, []).append(place)
    rows: list[SharedRow] = []
    for places in members.values():
        rows += _rows_of(places, texts, tokens)
    return sorted(rows, key=lambda row: -len(row))


def _rows_of(places: list[int], texts: Sequence[Ids], tokens: int) -> list[SharedRow]:
    common = _common([texts[i] for i in places])
    prefix = texts[places[0]][:common]
    rows: list[SharedRow] = []
    current: list[int] = []
    length = common
    for place in sorted(places, key=lambda i: -len(texts[i])):
        more = len(texts[place]) - common
        if current and length + more > tokens:
            rows.append(_row(current, prefix, texts))
            current, length = [], common
        current.append(place)
        length += more
    rows.append(_row(current, prefix, texts))
    return rows


def _row(places: list[int], prefix: Ids, texts: Sequence[Ids]) -> SharedRow:
    return SharedRow(tuple(places), prefix, tuple(texts[i][len(prefix) :] for i in places))


def _common(texts: Sequence[Ids]) -> int:
    """Tokens that all texts begin with, so that each has one more."""
    most = min(map(len, texts)) - 1
    first, last = min(texts), max(texts)  # the two that differ first
    return next((i for i in range(most) if first[i] != last[i]), most)


@dataclass(frozen=True)
class SharedBatch:
    """Rows as tensors: ids and positions (n, L), which tokens a token reads (n, 1, L, L), and for
    each text its row and the place of its last token, (texts,) each, in the order of `places`.
    """

    ids: Tensor
    positions: Tensor
    reads: Tensor
    row: Tensor
    last: Tensor
    places: list[int]


def lay_out(rows: Sequence[SharedRow]) -> SharedBatch:
    """Rows side by side. A token reads the prefix and its own text up to itself, nothing else."""
    width = -(-max(len(row) for row in rows) // LENGTH_MULTIPLE) * LENGTH_MULTIPLE
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    positions = torch.zeros(len(rows), width, dtype=torch.long)
    part = torch.full((len(rows), width), -1)  # 0 the prefix, 1.. the texts, -1 padding
    ends: list[tuple[int, int]] = []
    for number, row in enumerate(rows):
        start = 0
        for segment, tokens in enumerate((row.prefix, *row.suffixes)):
            first = 0 if segment == 0 else len(row.prefix)
            here = slice(start, start + len(tokens))
            ids[number, here] = torch.tensor(tokens, dtype=torch.long)
            positions[number, here] = torch.arange(first, first + len(tokens))
            part[number, here] = segment
            start += len(tokens)
            if segment:
                ends.append((number, start - 1))
    causal = torch.ones(width, width, dtype=torch.bool).tril()
    same = part[:, :, None] == part[:, None, :]  # padding reads padding: none reads nothing at all
    reads = (same | (part == 0)[:, None, :]) & causal
    row_of, last = torch.tensor(ends).T
    places = [place for row in rows for place in row.places]
    return SharedBatch(ids, positions, reads[:, None], row_of, last, places)
