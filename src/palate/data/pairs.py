"""From rows of the data to what methods take: comparisons grouped by user over a feature table."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from palate.data.comparisons import IntArray, PreferenceData
from palate.types import PairBatch


def pairs_of_users(
    data: PreferenceData, features: Tensor, rows: IntArray, users: IntArray
) -> PairBatch:
    """The comparisons in `rows` of the given users, one after the other; a user may have none.

    features: (N, D) of the data's items, or (N + P, D) with the prompts by themselves after them.
    Rows of other users are left out; a user's rows keep the order in which `rows` gives them.
    """
    place = np.full(len(data.user_ids), len(users), dtype=np.int64)
    place[users] = np.arange(len(users))
    owner = place[data.user[rows]]
    order = np.argsort(owner, kind="stable")
    order = order[: int((owner < len(users)).sum())]
    kept = rows[order]
    counts = np.bincount(owner[order], minlength=len(users))
    offsets = torch.from_numpy(np.concatenate([[0], np.cumsum(counts)]))
    items = len(data.items)
    weight = None
    if data.weight is not None:
        weight = torch.from_numpy(data.weight[kept].astype(np.float32))
    return PairBatch(
        features=features,
        chosen=torch.from_numpy(data.chosen_item[kept]),
        rejected=torch.from_numpy(data.rejected_item[kept]),
        offsets=offsets,
        weight=weight,
        prompt=torch.from_numpy(items + data.prompt[kept]) if len(features) > items else None,
    )


def first_rows(data: PreferenceData, rows: IntArray, most: int) -> IntArray:
    """At most `most` rows of each user, the first ones in the order of `rows`."""
    order = np.argsort(data.user[rows], kind="stable")
    owner = data.user[rows][order]
    start = np.searchsorted(owner, owner)
    rank = np.arange(len(owner)) - start
    kept: IntArray = rows[np.sort(order[rank < most])]
    return kept
