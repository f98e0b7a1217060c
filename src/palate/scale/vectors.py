"""Features on their way to and from Parquet: float32, or bfloat16 at half the size."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from palate.scale.partition import array_of_keys, bytes_of_column

VectorDtype = Literal["float32", "bfloat16"]
BYTES = {"float32": 4, "bfloat16": 2}
INTEGERS = {"float32": torch.int32, "bfloat16": torch.int16}


def table_of_vectors(keys: NDArray[np.uint8], vectors: Tensor, dtype: str) -> pa.Table:
    """Columns `key`, the 16 bytes of a text's address, and `vector`, its numbers little-endian.

    keys: (n, 16). vectors: (n, D). As bytes they are read three times as fast as lists of numbers.
    """
    kept = vectors.to(getattr(torch, dtype)).contiguous().view(INTEGERS[dtype]).numpy()
    width = kept.shape[1] * BYTES[dtype]
    column = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(max(width, 1)), len(kept), [None, pa.py_buffer(kept)]
    )
    return pa.table({"key": array_of_keys(keys), "vector": column})


def vectors_of(table: pa.Table, dtype: str) -> Tensor:
    """(n, D) in float32; (0, 0) of an empty part, which does not know D."""
    if not len(table):
        return torch.zeros(0, 0)
    kept = bytes_of_column(table["vector"])
    if dtype == "bfloat16":  # the upper half of a float32
        return torch.from_numpy((kept.view("<u2").astype("<u4") << 16).view("<f4"))
    return torch.from_numpy(kept.view("<f4").copy())


def lists_of(values: Tensor) -> pa.Array:
    """(n, d) numbers as an Arrow column of lists, float32."""
    flat = np.ascontiguousarray(values.numpy(), dtype=np.float32).reshape(-1)
    return pa.FixedSizeListArray.from_arrays(pa.array(flat), values.shape[1])


def tensor_of(column: pa.ChunkedArray) -> Tensor:
    """(n, d) of a column of lists of numbers, float32."""
    array = column.combine_chunks()
    flat = array.flatten().to_numpy(zero_copy_only=False)
    return torch.from_numpy(flat.astype(np.float32)).reshape(len(array), array.type.list_size)
