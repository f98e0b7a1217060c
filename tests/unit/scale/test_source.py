"""Pieces cover an input once; its digest tells it from another."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pytest

from palate.errors import DataError
from palate.scale import source
from palate.scale.rows import CANDIDATE, COMPARISON, check_columns, needed
from palate.scale.source import open_source
from tests import toy
from tests.unit.scale.worlds import write

ROWS = [{"user_id": f"u{i}", "number": i} for i in range(1000)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "input"
    place.mkdir()
    write(place / "b.parquet", ROWS[400:], group=90)
    write(place / "a.parquet", ROWS[:400], group=33)
    (place / "notes.txt").write_text("not read")
    return place


@pytest.mark.parametrize("least", [1, 50, 300, 10_000])
def test_pieces_cover_every_row_once_in_the_order_of_files(
    least: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "PIECE_ROWS", least)
    monkeypatch.setattr(source, "BATCH_ROWS", 64)
    opened = open_source(folder)
    numbers = []
    for piece in opened.pieces:
        assert piece.before == len(numbers)
        read = []
        for first, table in piece.batches(["number"]):
            assert first == piece.first + len(read)
            read += table["number"].to_pylist()
        assert len(read) == piece.rows
        numbers += read
    assert numbers == [row["number"] for row in ROWS]
    assert opened.rows == 1000


def test_there_are_not_too_many_pieces(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "PIECE_ROWS", 1)
    monkeypatch.setattr(source, "MOST_PIECES", 4)
    assert len(open_source(folder).pieces) <= 5  # a file ends a piece


def test_columns_are_those_of_all_files(folder: Path) -> None:
    write(folder / "c.parquet", [{"number": 1, "more": 2}])
    assert open_source(folder).columns == ("number",)


def test_the_digest_is_of_names_and_content(folder: Path, tmp_path: Path) -> None:
    before = open_source(folder).digest
    shutil.copytree(folder, tmp_path / "copy")
    assert open_source(tmp_path / "copy").digest == before
    changed = [ROWS[0] | {"number": 5}, *ROWS[1:400]]
    write(folder / "a.parquet", changed, group=33)
    assert open_source(folder).digest != before
    (tmp_path / "copy" / "a.parquet").rename(tmp_path / "copy" / "z.parquet")
    assert open_source(tmp_path / "copy").digest != before


def test_inputs_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.parquet: no such file"):
        open_source(tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"holds no \.parquet file; name a Parquet file"):
        open_source(tmp_path)
    whole = write(tmp_path / "b.parquet", ROWS)
    whole.write_bytes(whole.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"b\.parquet: not a whole Parquet file"):
        open_source(tmp_path)
    (tmp_path / "b.parquet").write_bytes(b"")
    with pytest.raises(DataError, match="not a whole Parquet file"):
        open_source(whole)


def test_nobody(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    names = ["user_id", "prompt", "chosen", "rejected"]
    pq.write_table(pa.table({name: pa.array([], pa.string()) for name in names}), tmp_path / "a")
    with pytest.raises(DataError, match="holds no row, so nobody's answers"):
        open_source(tmp_path / "a")


def test_columns_that_are_needed(tmp_path: Path) -> None:
    rows = toy.rows(users=1, each=2)
    path = write(tmp_path / "a.parquet", rows)
    assert needed(open_source(path), COMPARISON, users=True) == ["user_id", *COMPARISON]
    assert needed(open_source(path), COMPARISON, CANDIDATE, users=False) == [*COMPARISON]
    renamed = [{"user": r["user_id"], "prompt": "p", "response": r["chosen"]} for r in rows]
    path = write(tmp_path / "b.parquet", renamed)
    assert needed(open_source(path), CANDIDATE, users=True) == ["user", *CANDIDATE]
    with pytest.raises(DataError) as error:
        check_columns(path, COMPARISON)
    assert [problem.field for problem in error.value.problems] == ["chosen", "rejected"]
    message = "found user, prompt, response; expected the columns user_id (or user), prompt, chosen"
    assert message in str(error.value)
    path = write(tmp_path / "c.parquet", [{"prompt": "p", "chosen": "a", "rejected": "b"}])
    with pytest.raises(DataError, match="field 'user_id': column is missing"):
        check_columns(path, COMPARISON)
