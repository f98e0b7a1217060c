"""One step's comparisons as what a method's loss takes: whose they are, and what tells who that is.

With a frozen copy of the backbone, comparisons that only tell who a user is cost nothing: their
hidden states are known. So a step's own comparisons are all targets, and references come from the
rest of the user's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from palate.finetuning.grouping import IntArray
from palate.methods.base import Step
from palate.types import PairBatch

#: Hidden states (n, D) of some items; with `moves` they carry a gradient.
Encode = Callable[[IntArray, bool], Tensor]


@dataclass(frozen=True)
class Columns:
    """A step's comparisons, a row a user: (b, m) of the training comparisons, -1 for none.

    references: the first columns, which are no targets.
    """

    user: IntArray
    comparison: IntArray
    references: int


def arrange(
    pairs: PairBatch, rows: IntArray, references: int, draw: np.random.Generator
) -> Columns:
    """Targets in `rows` by user, and up to `references` of each user's other comparisons.

    A user whose other comparisons are fewer than the targets gives some of these up for them.
    """
    owner = pairs.user.numpy()[rows]
    users = np.unique(owner)
    offsets = pairs.offsets.numpy()
    lines = []
    for user in users:
        targets = draw.permutation(rows[owner == user])
        others = np.setdiff1d(np.arange(offsets[user], offsets[user + 1]), targets)
        if references and len(others) < len(targets):
            moved = (len(targets) - len(others)) // 2
            others, targets = np.concatenate([others, targets[:moved]]), targets[moved:]
        lines.append((draw.permutation(others)[:references], targets))
    first = max(len(known) for known, _ in lines)
    width = max(len(targets) for _, targets in lines)
    comparison = np.full((len(users), first + width), -1, dtype=np.int64)
    for line, (known, targets) in zip(comparison, lines, strict=True):
        line[: len(known)] = known
        line[first : first + len(targets)] = targets
    return Columns(users, comparison, first)


def step_of(pairs: PairBatch, columns: Columns, encode: Encode, *, frozen: bool) -> Step:
    """The step over a table of the items in it: (n, D) live, or (n, 2 D) with the frozen beside.

    Targets' items (and prompts) are encoded with their gradient; items of references alone are
    taken from the frozen table, or encoded without.
    """
    present = torch.from_numpy(columns.comparison >= 0)
    row = torch.from_numpy(np.where(columns.comparison >= 0, columns.comparison, 0))
    chosen, rejected = pairs.chosen[row], pairs.rejected[row]
    prompt = None if pairs.prompt is None else pairs.prompt[row]
    parts = [chosen, rejected] if prompt is None else [chosen, rejected, prompt]
    is_target = present & (torch.arange(row.shape[1]) >= columns.references)
    items = torch.unique(torch.cat([part[present] for part in parts]))
    moving = torch.unique(torch.cat([part[is_target] for part in parts]))
    is_moving = torch.isin(items, moving)
    still = items[~is_moving]
    known = pairs.features[still]
    if len(still) and not frozen:
        known = encode(still.numpy(), False)
    live = encode(moving.numpy(), True)
    table = live.new_zeros(len(items), live.shape[1])
    table = table.index_copy(0, torch.nonzero(~is_moving)[:, 0], known)
    table = table.index_copy(0, torch.nonzero(is_moving)[:, 0], live)
    if frozen:
        table = torch.cat([table, pairs.features[items]], dim=-1)
    places = [torch.searchsorted(items, part) * present for part in parts]
    weight = torch.ones(row.shape) if pairs.weight is None else pairs.weight[row]
    return Step(
        features=table,
        chosen=places[0],
        rejected=places[1],
        weight=weight * present,
        user=torch.from_numpy(columns.user),
        prompt=None if prompt is None else places[2],
        references=columns.references,
    )
