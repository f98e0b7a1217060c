"""Rows on their way to their parts: a file a piece, in which every part finds its own at once.

A file holds rounds of `parts` record batches, one a part, and a last, empty one that carries
counts. A round is what fits into memory, so that a piece may be of any length.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import ipc

from palate.scale.partition import Parts
from palate.scale.whole import written_whole

#: Bytes of rows that a round holds.
ROUND_BYTES = 64 * 2**20

Sorted = tuple[pa.Table, Parts]


def write_piece(
    path: Path, schema: pa.Schema, tables: Iterable[Sorted], parts: int, counts: Counter[str]
) -> None:
    """Write tables with the part (n,) of each row; `counts` is read when the last was taken."""
    waiting: list[Sorted] = []
    with written_whole(path) as temporary, ipc.new_file(temporary, schema) as file:
        for table, part in tables:
            waiting.append((table, part))
            if sum(held.nbytes for held, _ in waiting) >= ROUND_BYTES:
                _write_round(file, waiting, parts)
                waiting = []
        if waiting:
            _write_round(file, waiting, parts)
        last = pa.RecordBatch.from_pylist([], schema=schema)
        file.write_batch(last, custom_metadata={"counts": json.dumps(counts)})


def _write_round(file: ipc.RecordBatchFileWriter, waiting: Sequence[Sorted], parts: int) -> None:
    part = np.concatenate([part for _, part in waiting])
    table = pa.concat_tables([table for table, _ in waiting])
    ordered = table.take(np.argsort(part, kind="stable")).combine_chunks()
    ends = np.bincount(part, minlength=parts).cumsum().tolist()
    batches = ordered.to_batches()
    whole = batches[0] if batches else pa.RecordBatch.from_pylist([], schema=table.schema)
    for start, end in zip([0, *ends], ends, strict=False):
        file.write_batch(whole.slice(start, end - start))


def read_part(paths: Sequence[Path], part: int, parts: int) -> pa.Table:
    """The rows of one part out of all pieces, in their order."""
    batches: list[pa.RecordBatch] = []
    for path in paths:
        with pa.memory_map(str(path)) as mapped:
            file = ipc.open_file(mapped)
            schema = file.schema
            places = range(part, file.num_record_batches - 1, parts)
            found = (file.get_batch(place) for place in places)
            batches += [batch for batch in found if len(batch)]
    return pa.Table.from_batches(batches, schema).combine_chunks()


def read_counts(path: Path) -> Counter[str]:
    """What was counted while a piece was written."""
    with pa.memory_map(str(path)) as mapped:
        file = ipc.open_file(mapped)
        last = file.get_batch_with_custom_metadata(file.num_record_batches - 1)
        return Counter(json.loads(last.custom_metadata[b"counts"]))
