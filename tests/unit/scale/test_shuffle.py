"""Rows on their way: every one arrives in its part, in order, or the file is not there."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from palate.errors import ScaleError
from palate.scale import shuffle
from palate.scale.shuffle import Sorted, read_counts, read_part, write_piece
from palate.scale.whole import counts_of, write_table, written_whole

PARTS = 7
SCHEMA = pa.schema([("number", pa.int64()), ("text", pa.string())])


def table(first: int, rows: int) -> Sorted:
    numbers = np.arange(first, first + rows)
    texts = pa.array([f"text {number}" * (number % 3) or None for number in numbers])
    part = np.random.default_rng(first).integers(PARTS - 1, size=rows)  # the last one gets none
    return pa.table({"number": numbers, "text": texts}, schema=SCHEMA), part


@pytest.mark.parametrize("room", [1, 3000, 10**9])
def test_every_row_arrives_once_in_order(
    room: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shuffle, "ROUND_BYTES", room)
    pieces = [[table(0, 200), table(200, 1)], [], [table(201, 300), table(501, 0)]]
    paths = [tmp_path / f"{i}.arrow" for i in range(len(pieces))]
    for path, tables in zip(paths, pieces, strict=True):
        write_piece(path, SCHEMA, tables, PARTS, Counter())
    given = [one for tables in pieces for one in tables]
    rows = pa.concat_tables([rows for rows, _ in given])
    part = np.concatenate([part for _, part in given])
    for number in range(PARTS):
        expected = rows.filter(pa.array(part == number))
        assert read_part(paths, number, PARTS).equals(expected.combine_chunks())
    assert len(read_part(paths, PARTS - 1, PARTS)) == 0


def test_counts_are_read_when_the_last_row_was_taken(tmp_path: Path) -> None:
    counts = Counter[str]()

    def tables() -> list[Sorted]:
        counts.update(left_out=3)
        return [table(0, 10)]

    write_piece(tmp_path / "a", SCHEMA, tables(), PARTS, counts)
    assert read_counts(tmp_path / "a") == {"left_out": 3}


def test_a_piece_that_fails_is_not_there(tmp_path: Path) -> None:
    def broken() -> object:
        yield table(0, 10)
        raise ValueError("row 11")

    with pytest.raises(ValueError, match="row 11"):
        write_piece(tmp_path / "a", SCHEMA, broken(), PARTS, Counter())  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_a_killed_writer_leaves_no_file_of_that_name(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from palate.scale.whole import written_whole\n"
        "with written_whole(Path(sys.argv[1])) as path:\n"
        "    path.write_bytes(b'half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "part")]
    assert subprocess.run(command, check=False, timeout=60).returncode == -9
    assert [path.name.startswith(".writing-part") for path in tmp_path.iterdir()] == [True]


def test_tables_are_written_with_their_counts(tmp_path: Path) -> None:
    rows = pa.table({"model": ["m"] * 100, "x": np.arange(100)})
    for name in ("a", "b"):
        write_table(tmp_path / name, rows, {"users": 100, "answers": 5})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert counts_of(tmp_path / "a") == {"users": 100, "answers": 5}
    assert pq.read_table(tmp_path / "a").equals(rows)


def test_a_folder_that_is_gone(tmp_path: Path) -> None:
    with (
        pytest.raises(ScaleError, match=r"cannot write .*what is finished stays"),
        written_whole(tmp_path / "gone" / "a") as path,
    ):
        path.write_text("a")
