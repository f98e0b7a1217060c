"""Answers as they travelled, put in an order that does not depend on where they stood."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from palate.model import PersonalRewardModel
from palate.scale.features import FeatureTable
from palate.types import Evidence, PairBatch

Rows = NDArray[np.int64]

#: Comparisons that are read for their evidence at once.
CHUNK = 8192


@dataclass(frozen=True, eq=False)
class Answers:
    """The answers of U users, each once, in the order of users and of texts.

    So neither the order of rows nor how often one stands changes a posterior. features: (N, D) of
    the distinct texts; chosen, rejected, prompt: (B,) rows of it. offsets: (U + 1,).
    """

    user_ids: list[str]
    features: Tensor
    chosen: Tensor
    rejected: Tensor
    offsets: Tensor
    prompt: Tensor | None = None

    @classmethod
    def of(cls, rows: pa.Table, table: FeatureTable) -> Answers:
        """Of rows as they travelled."""
        names = [name for name in rows.column_names if name != "user_id"]
        if not len(rows):
            none = torch.zeros(0, dtype=torch.long)
            alone = none if "prompt" in names else None
            return cls([], torch.zeros(0, 0), none, none, torch.zeros(1).long(), alone)
        keys = pa.chunked_array([chunk for name in names for chunk in rows[name].chunks])
        features, found = table.find(keys)
        by_name = dict(zip(names, found.reshape(len(names), -1), strict=True))
        users = rows["user_id"].combine_chunks().dictionary_encode()
        ids = users.dictionary.to_pylist()
        order = sorted(range(len(ids)), key=ids.__getitem__)
        rank = np.empty(len(ids), dtype=np.int64)
        rank[order] = np.arange(len(ids))
        user = rank[users.indices.to_numpy()]
        once = _each_once(user, by_name["chosen"], by_name["rejected"])
        counts = np.bincount(user[once], minlength=len(ids))
        offsets = torch.from_numpy(np.concatenate([[0], counts.cumsum()]))
        columns = {name: torch.from_numpy(column[once]) for name, column in by_name.items()}
        return cls([ids[i] for i in order], features, offsets=offsets, **columns)

    def evidence(self, model: PersonalRewardModel) -> Evidence:
        """What the answers say under a model; memory beyond the result is that of a chunk."""
        features = self.features
        if not len(self.chosen):
            features = features.reshape(0, model.method.width)
        features = model.reader.states(features)
        rows = []
        for start in range(0, max(len(self.chosen), 1), CHUNK):
            part = slice(start, start + CHUNK)
            chosen = self.chosen[part]
            prompt = None if self.prompt is None else self.prompt[part]
            offsets = torch.tensor([0, len(chosen)])
            pairs = PairBatch(features, chosen, self.rejected[part], offsets, prompt=prompt)
            rows.append(model.method.evidence(pairs))
        return Evidence(torch.cat(rows), self.offsets)


def _each_once(user: Rows, chosen: Rows, rejected: Rows) -> Rows:
    """Places of the answers in order, those that stand again left out."""
    order = np.lexsort((rejected, chosen, user))
    table = np.stack([user, chosen, rejected])[:, order]
    fresh = np.ones(len(order), dtype=bool)
    fresh[1:] = (table[:, 1:] != table[:, :-1]).any(0)
    return order[fresh]
