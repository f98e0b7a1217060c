"""A job's input: Parquet files cut into pieces that are read as streams, and what identifies it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from palate.errors import DataError, Problem

#: Fewest rows of a piece, where row groups are smaller; and most pieces of an input.
PIECE_ROWS = 65_536
MOST_PIECES = 1024
#: Rows that are read and checked at once.
BATCH_ROWS = 32_768
#: A Parquet file ends with the length of its footer and a mark.
TAIL = 8


@dataclass(frozen=True)
class Piece:
    """Some row groups of one file. first: rows of the file before them; before: of the input."""

    path: str
    groups: tuple[int, ...]
    first: int
    before: int
    rows: int

    def batches(self, columns: Sequence[str]) -> Iterator[tuple[int, pa.Table]]:
        """Tables of at most `BATCH_ROWS` rows with the place of each one's first in the file."""
        place = self.first
        with pq.ParquetFile(self.path) as file:
            for batch in file.iter_batches(BATCH_ROWS, list(self.groups), columns=list(columns)):
                yield place, pa.Table.from_batches([batch])
                place += len(batch)


@dataclass(frozen=True)
class Source:
    """The pieces of a file or of a folder of files, in the order of names.

    columns: what every file has. digest: hash of the files' names, sizes and footers, which hold
    their statistics; it takes no reading of the rows.
    """

    path: str
    pieces: tuple[Piece, ...]
    columns: tuple[str, ...]
    digest: str

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return sum(piece.rows for piece in self.pieces)


def open_source(path: Path) -> Source:
    """Look at a Parquet file, or at all of a folder; raises `DataError` where there is no row."""
    files = _files(path)
    footers = [_metadata(file) for file in files]
    rows = sum(footer.num_rows for footer in footers)
    if rows == 0:
        raise DataError([Problem(str(path), None, None, "holds no row, so nobody's answers")])
    least = max(PIECE_ROWS, -(-rows // MOST_PIECES))
    pieces: list[Piece] = []
    for file, footer in zip(files, footers, strict=True):
        before = sum(piece.rows for piece in pieces)
        pieces += _pieces(str(file.absolute()), footer, least, before)
    names = [list(dict.fromkeys(footer.schema.to_arrow_schema().names)) for footer in footers]
    shared = tuple(name for name in names[0] if all(name in other for other in names))
    return Source(str(path), tuple(pieces), shared, _digest(files))


def _files(path: Path) -> list[Path]:
    if not path.exists():
        raise DataError([Problem(str(path), None, None, "no such file")])
    if path.is_file():
        return [path]
    files = sorted(file for file in path.glob("*.parquet") if file.is_file())
    if not files:
        message = "holds no .parquet file; name a Parquet file, or a folder of them"
        raise DataError([Problem(str(path), None, None, message)])
    return files


def _metadata(file: Path) -> pq.FileMetaData:
    try:
        return pq.read_metadata(file)
    except (OSError, pa.ArrowException, ValueError) as error:
        message = f"not a whole Parquet file ({error}): write it again"
        raise DataError([Problem(str(file), None, None, message)]) from error


def _pieces(path: str, footer: pq.FileMetaData, least: int, before: int) -> Iterator[Piece]:
    groups: list[int] = []
    first, rows = 0, 0
    for group in range(footer.num_row_groups):
        groups.append(group)
        rows += footer.row_group(group).num_rows
        if rows >= least or group == footer.num_row_groups - 1:
            yield Piece(path, tuple(groups), first, before + first, rows)
            groups, first, rows = [], first + rows, 0


def _digest(files: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        size = file.stat().st_size
        with file.open("rb") as stream:
            stream.seek(size - TAIL)
            length = int.from_bytes(stream.read(4), "little")
            stream.seek(max(size - TAIL - length, 0))
            digest.update(f"{file.name}\0{size}\0".encode() + stream.read())
    return digest.hexdigest()[:32]
