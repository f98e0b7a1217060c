"""Comparisons grouped by user, against picking them one by one."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from palate import PreferenceData
from palate.data.pairs import first_rows, pairs_of_users
from tests.unit.data.formats import Row
from tests.unit.data.test_splits import random_rows

WORLD = random_rows(6, 8, 3, 5, 0)
some_rows = st.lists(st.integers(0, len(WORLD) - 1), unique=True, max_size=len(WORLD))
some_users = st.lists(st.integers(0, 5), unique=True, max_size=6)


def weighted(rows: list[Row]) -> PreferenceData:
    return PreferenceData.load([row | {"weight": 1.0 + i} for i, row in enumerate(rows)])


@given(some_rows, some_users)
@settings(max_examples=100)
def test_pairs_are_the_rows_of_each_user_in_their_order(rows: list[int], users: list[int]) -> None:
    data = weighted(WORLD)
    features = torch.arange(len(data.items), dtype=torch.float32)[:, None]
    pairs = pairs_of_users(
        data, features, np.array(rows, dtype=np.int64), np.array(users, dtype=np.int64)
    )
    assert pairs.users == len(users)
    assert pairs.weight is not None
    for place, user in enumerate(users):
        start, stop = pairs.offsets[place : place + 2].tolist()
        wanted = [row for row in rows if data.user[row] == user]
        for pair, row in zip(range(start, stop), wanted, strict=True):
            prompt, chosen = data.items[int(pairs.features[pairs.chosen[pair], 0])]
            _, rejected = data.items[int(pairs.features[pairs.rejected[pair], 0])]
            assert (prompt, chosen) == (data.prompt[row], data.chosen[row])
            assert rejected == data.rejected[row]
            assert pairs.weight[pair] == data.weight[row]
    assert len(pairs) == sum(data.user[row] in users for row in rows)


@given(some_rows, st.integers(0, 9))
@settings(max_examples=100)
def test_first_rows_are_the_first_of_each_user(rows: list[int], most: int) -> None:
    data = weighted(WORLD)
    kept = first_rows(data, np.array(rows, dtype=np.int64), most)
    taken: dict[int, int] = {}
    expected = []
    for row in rows:
        user = int(data.user[row])
        taken[user] = taken.get(user, 0) + 1
        if taken[user] <= most:
            expected.append(row)
    assert kept.tolist() == expected
