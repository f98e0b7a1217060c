"""Files of a job that are whole or not there, whoever is killed while writing them."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from palate.errors import ScaleError

#: How the name of a file begins that is being written.
TEMPORARY = ".writing-"
COUNTS = b"palate_counts"


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A path to write to, which takes the name `path` at the end, in one step."""
    temporary = path.parent / f"{TEMPORARY}{path.name}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    try:
        yield temporary
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        raise ScaleError(f"cannot write {path}: {error}; what is finished stays") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_table(path: Path, table: pa.Table, counts: Mapping[str, int]) -> None:
    """A Parquet file with what was counted while it was made; equal bytes for equal tables."""
    metadata = {**(table.schema.metadata or {}), COUNTS: json.dumps(counts, sort_keys=True)}
    repeated = [name for name in ("model",) if name in table.column_names]
    with written_whole(path) as temporary:
        pq.write_table(table.replace_schema_metadata(metadata), temporary, use_dictionary=repeated)


def counts_of(path: Path) -> dict[str, int]:
    """What was counted while a Parquet file was made."""
    counts: dict[str, int] = json.loads(pq.read_metadata(path).metadata[COUNTS])
    return counts
