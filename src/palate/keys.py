"""Hashes that stand for users and texts where their content must not be kept."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def keys_of(names: Iterable[str], secret: str = "") -> Tensor:
    """(n, 16) bytes: hashes of names, keyed by `secret`."""
    key = secret.encode()[:64]
    digests = [hashlib.blake2b(n.encode(), digest_size=16, key=key).digest() for n in names]
    return torch.from_numpy(np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(-1, 16).copy())


def rows_of_keys(wanted: Tensor, table: Tensor) -> NDArray[np.int64]:
    """(n,) the row of each wanted key (n, 16) in a table of keys, -1 where it is not."""
    place = {row.tobytes(): i for i, row in enumerate(table.numpy())}
    return np.array([place.get(row.tobytes(), -1) for row in wanted.numpy()], dtype=np.int64)
