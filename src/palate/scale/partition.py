"""Which part of a job a user or a text belongs to: ranges of a hash, the same on every machine."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from palate.keys import keys_of

#: Bytes of a text's key, as the feature cache has it.
KEY_BYTES = 16
KEY = pa.binary(KEY_BYTES)

Parts = NDArray[np.int64]
Bytes = NDArray[np.uint8]


def parts_of_keys(keys: Bytes, parts: int) -> Parts:
    """(n,) the part of each key (n, 16): key space cut into equal ranges, in the keys' order.

    So the part of twice as many is part // 2 here, and sorted keys stand in the order of parts.
    """
    leading = np.ascontiguousarray(keys[:, :4]).view(">u4")[:, 0].astype(np.uint64)
    return ((leading * np.uint64(parts)) >> np.uint64(32)).astype(np.int64)


def parts_of_users(user_ids: Sequence[str], parts: int) -> Parts:
    """(n,) the part of each user."""
    return parts_of_keys(keys_of(user_ids).numpy(), parts)


def array_of_keys(keys: Bytes) -> pa.Array:
    """Keys (n, 16) as an Arrow column."""
    buffer = pa.py_buffer(np.ascontiguousarray(keys))
    return pa.FixedSizeBinaryArray.from_buffers(KEY, len(keys), [None, buffer])


def bytes_of_column(column: pa.ChunkedArray | pa.Array) -> Bytes:
    """(n, width) bytes of an Arrow column of fixed width; a view that may be read-only."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    width = array.type.byte_width
    whole = np.frombuffer(array.buffers()[1] or b"", dtype=np.uint8)
    return whole[array.offset * width : (array.offset + len(array)) * width].reshape(-1, width)


def keys_of_texts(keys: Iterable[bytes]) -> pa.Array:
    """Keys of 16 bytes each as an Arrow column."""
    return array_of_keys(np.frombuffer(b"".join(keys), dtype=np.uint8).reshape(-1, KEY_BYTES))
