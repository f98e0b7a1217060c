"""A job's folder: only ours, one job at a time, the same job or none."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path

import pytest

from palate.errors import ScaleError
from palate.scale.folder import begun, check_ours, part_path, piece_path, read_manifest

JOB = {"kind": "users", "parts": 2, "model": "abc"}


def test_a_folder_is_begun_and_cleared_of_what_was_half_written(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    with begun(out, JOB):
        piece_path(out, 0).write_text("rows")
        (out / ".writing-part-000001.parquet-1-a").write_text("half")
        part_path(out, 0).write_text("rows")
    assert sorted(path.name for path in out.iterdir()) == [
        ".lock",
        "manifest.json",
        "part-000000.parquet",
    ]
    assert json.loads((out / "manifest.json").read_text()) == {"format": 1, **JOB}


def test_pieces_stay_where_a_job_fails(tmp_path: Path) -> None:
    def fail() -> None:
        with begun(tmp_path, JOB):
            piece_path(tmp_path, 0).write_text("rows")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert piece_path(tmp_path, 0).exists()
    (tmp_path / ".work" / ".writing-piece").write_text("half")
    with begun(tmp_path, JOB):
        assert [path.name for path in (tmp_path / ".work").iterdir()] == ["piece-000000.arrow"]


def test_what_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years")
    with pytest.raises(ScaleError, match=r"is not empty and holds no manifest\.json"):
        check_ours(tmp_path)
    with pytest.raises(ScaleError, match="so nothing of ours"), begun(tmp_path, JOB):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(ScaleError, match="is a file; name a folder"):
        check_ours(tmp_path / "thesis.tex")


def test_another_job_is_told_what_differs(tmp_path: Path) -> None:
    with begun(tmp_path, JOB):
        pass
    with pytest.raises(ScaleError) as error, begun(tmp_path, JOB | {"model": "def", "new": 1}):
        pass
    assert "(model: was abc, is def; new: was None, is 1)" in str(error.value)
    assert "name another folder" in str(error.value)


def test_two_jobs_at_once(tmp_path: Path) -> None:
    with (tmp_path / ".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(ScaleError, match="another job is writing in"), begun(tmp_path, JOB):
            pass
    with begun(tmp_path, JOB):
        pass


def test_a_manifest_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{half")
    with pytest.raises(ScaleError, match=r"manifest\.json cannot be read"), begun(tmp_path, JOB):
        pass


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ScaleError, match="cannot write in"), begun(tmp_path / "file" / "out", JOB):
        pass


def test_reading_asks_for_a_finished_job_of_the_kind(tmp_path: Path) -> None:
    with pytest.raises(ScaleError, match="holds no users: name a folder that `adapt` wrote"):
        read_manifest(tmp_path, "users", "adapt")
    with begun(tmp_path, JOB):
        part_path(tmp_path, 1).write_text("rows")
    with pytest.raises(ScaleError, match="holds no features"):
        read_manifest(tmp_path, "features", "encode")
    with pytest.raises(ScaleError, match="1 of 2 parts are missing; run the same `adapt` again"):
        read_manifest(tmp_path, "users", "adapt")
    part_path(tmp_path, 0).write_text("rows")
    assert read_manifest(tmp_path, "users", "adapt")["model"] == "abc"
    newer = {"format": 2, **JOB}
    (tmp_path / "manifest.json").write_text(json.dumps(newer))
    with pytest.raises(ScaleError, match="has format 2, this version reads 1"):
        read_manifest(tmp_path, "users", "adapt")
