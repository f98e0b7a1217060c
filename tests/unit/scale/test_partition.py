"""Ranges of a hash: every key in one part, the same ones everywhere."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
import pytest

from palate.scale.partition import (
    array_of_keys,
    bytes_of_column,
    keys_of_texts,
    parts_of_keys,
    parts_of_users,
)

NAMES = [f"user {i}" for i in range(5000)]


def test_users_are_spread_evenly_and_for_good() -> None:
    parts = parts_of_users(NAMES, 10)
    assert parts.min() == 0
    assert parts.max() == 9
    assert np.abs(np.bincount(parts) - 500).max() < 120
    assert parts[:8].tolist() == parts_of_users(NAMES[:8], 10).tolist()
    leading = [hashlib.blake2b(n, digest_size=16).digest()[:4] for n in (b"alice", b"bob", b"eve")]
    expected = [int.from_bytes(four) * 1000 >> 32 for four in leading]
    assert parts_of_users(["alice", "bob", "eve"], 1000).tolist() == expected


@pytest.mark.parametrize("parts", [1, 3, 7, 100_000])
def test_parts_of_a_multiple_lie_inside_of_a_part(parts: int) -> None:
    one, more = parts_of_users(NAMES, parts), parts_of_users(NAMES, 6 * parts)
    assert (more // 6 == one).all()


def test_sorted_keys_stand_in_the_order_of_parts() -> None:
    keys = np.random.default_rng(0).integers(256, size=(999, 16), dtype=np.uint8)
    keys[:2] = [[0] * 16, [255] * 16]
    keys = keys[np.lexsort(keys.T[::-1])]
    parts = parts_of_keys(keys, 13)
    assert (np.diff(parts) >= 0).all()
    assert (parts[0], parts[-1]) == (0, 12)


def test_keys_to_arrow_and_back() -> None:
    keys = np.random.default_rng(0).integers(256, size=(50, 16), dtype=np.uint8)
    column = array_of_keys(keys)
    assert (bytes_of_column(column) == keys).all()
    assert (bytes_of_column(column[7:20]) == keys[7:20]).all()
    assert (bytes_of_column(pa.chunked_array([column[:3], column[3:]])) == keys).all()
    assert keys_of_texts(row.tobytes() for row in keys).equals(column)
    assert bytes_of_column(column[:0]).shape == (0, 16)
    assert len(keys_of_texts([])) == 0
