"""Rows of a cache that tell which is whose, also for the processes that tests start."""

from __future__ import annotations

from typing import Any

import numpy as np


def keys_of(count: int, start: int = 0) -> list[bytes]:
    """Keys by number."""
    return [i.to_bytes(16, "little") for i in range(start, start + count)]


def rows_of(count: int, start: int = 0, width: int = 4) -> tuple[list[bytes], Any, Any]:
    """Keys, vectors (count, width) and token counts."""
    numbers = np.arange(start, start + count)
    vectors = np.repeat(numbers[:, None], width, axis=1).astype(np.float32)
    return keys_of(count, start), vectors, numbers + 1
