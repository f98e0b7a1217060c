"""Outputs are whole or as they were: at a failure, at Ctrl-C, and where something is in the way."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from palate.files import MARK, OutputError, json_checksum, new_folder, write_atomically
from tests.toy import contents


class StopError(Exception):
    """What goes wrong in a test."""


def old_model(path: Path) -> Path:
    path.mkdir()
    (path / MARK).write_text("old")
    (path / "more").write_text("old too")
    return path


# -- files ----------------------------------------------------------------------------------------


def test_a_file_is_written_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "made" / "a.json"
    for text in ("one é", "two"):
        write_atomically(path, text)
        assert path.read_text(encoding="utf-8") == text
    assert contents(tmp_path) == {"made": None, "made/a.json": b"two"}


def test_a_file_has_the_usual_permissions(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "a", "x")
        with new_folder(tmp_path / "folder") as folder:
            (folder / "b").write_text("x")
    finally:
        assert os.umask(before) == 0o027
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    assert modes == {"a": 0o640, "folder": 0o750, "b": 0o640}


def break_replace(patch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(*_: object) -> None:
        raise error

    patch.setattr(Path, "replace", fail)


def break_sync(patch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(_: int) -> None:
        raise error

    patch.setattr(os, "fsync", fail)


@pytest.mark.parametrize("broken", [break_replace, break_sync])
@pytest.mark.parametrize(
    ("error", "seen"),
    [
        (OSError(28, "No space left on device"), OutputError),
        (KeyboardInterrupt(), KeyboardInterrupt),
        (StopError(), StopError),
    ],
    ids=["disk", "ctrl-c", "other"],
)
def test_a_file_stays_as_it_was_when_writing_fails(
    broken: Callable[[pytest.MonkeyPatch, BaseException], None],
    error: BaseException,
    seen: type[BaseException],
    tmp_path: Path,
) -> None:
    path = tmp_path / "a"
    path.write_text("before")
    with pytest.MonkeyPatch.context() as patch:
        broken(patch, error)
        with pytest.raises(seen):
            write_atomically(path, "after")
    assert contents(tmp_path) == {"a": b"before"}


@pytest.mark.parametrize("kind", ["folder", "pipe", "under a file", "long name"])
def test_a_file_that_cannot_be_written(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "a"
    match kind:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "under a file":
            path.write_text("x")
            path = path / "b"
        case _:
            path = tmp_path / ("x" * 300)
    names = sorted(entry.name for entry in tmp_path.iterdir())
    with pytest.raises(OutputError, match="cannot write") as error:
        write_atomically(path, "text")
    assert str(path) in str(error.value)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == names


# -- folders --------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", ["nothing", "an empty folder"])
def test_a_folder_appears_when_it_is_whole(before: str, tmp_path: Path) -> None:
    path = tmp_path / "made" / "run"
    if before == "an empty folder":
        path.mkdir(parents=True)
    with new_folder(path) as folder:
        (folder / "a").write_text("x")
        assert not (path / "a").exists()
    assert contents(tmp_path) == {"made": None, "made/run": None, "made/run/a": b"x"}


def test_overwriting_replaces_all_of_a_model(tmp_path: Path) -> None:
    path = old_model(tmp_path / "run")
    with new_folder(path, overwrite=True) as folder:
        (folder / MARK).write_text("new")
        assert (path / MARK).read_text() == "old"
    assert contents(tmp_path) == {"run": None, f"run/{MARK}": b"new"}


def test_overwriting_follows_a_link_to_its_folder(tmp_path: Path) -> None:
    path = old_model(tmp_path / "run")
    link = tmp_path / "latest"
    link.symlink_to("run")
    with new_folder(link, overwrite=True) as folder:
        (folder / MARK).write_text("new")
    assert link.is_symlink()
    assert contents(path) == {MARK: b"new"}


def test_a_link_to_nothing_is_filled(tmp_path: Path) -> None:
    link = tmp_path / "latest"
    link.symlink_to("run")
    with new_folder(link) as folder:
        (folder / "a").write_text("x")
    assert contents(tmp_path / "run") == {"a": b"x"}


def diary(path: Path) -> None:
    path.mkdir()
    (path / "diary.txt").write_text("dear")


def model_among_folders(path: Path) -> None:
    (old_model(path) / "photos").mkdir()


def plain_file(path: Path) -> None:
    path.write_text("x")


@pytest.mark.parametrize(
    ("make", "overwrite", "message"),
    [
        (old_model, False, "exists already: name another folder, or pass --overwrite"),
        (plain_file, False, "is a file; name a folder"),
        (plain_file, True, "is a file; name a folder"),
        (diary, False, "exists already"),
        (diary, True, "nothing of ours"),
        (model_among_folders, False, "exists already"),
        (model_among_folders, True, "more than ours"),
    ],
)
def test_what_is_in_the_way_stays(
    make: Callable[[Path], object], overwrite: bool, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "run"
    make(path)
    before = contents(tmp_path)
    with pytest.raises(OutputError, match=message), new_folder(path, overwrite=overwrite):
        pytest.fail("the folder was given")
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", ["file/run", "x" * 300, "file/run/deeper"], ids=len)
def test_a_folder_that_cannot_be_made_is_refused_at_once(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot write"), new_folder(tmp_path / name):
        pytest.fail("the folder was given")
    assert contents(tmp_path) == {"file": b"x"}


def test_a_folder_without_permission_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(OutputError, match="no permission"), new_folder(tmp_path / "run"):
        pytest.fail("the folder was given")


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("error", [StopError, KeyboardInterrupt, OSError])
def test_a_failure_leaves_nothing_behind(
    error: type[BaseException], overwrite: bool, tmp_path: Path
) -> None:
    path = tmp_path / "run"
    if overwrite:
        old_model(path)
    before = contents(tmp_path)
    seen = OutputError if error is OSError else error
    with pytest.raises(seen), new_folder(path, overwrite=overwrite) as folder:  # noqa: PT012
        (folder / "a").write_text("x")
        raise error
    assert contents(tmp_path) == before


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
@pytest.mark.parametrize("fails_at", [1, 2])
def test_what_stood_there_comes_back_when_taking_its_place_fails(
    error: type[BaseException], fails_at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = old_model(tmp_path / "run")
    before = contents(tmp_path)
    rename, calls = Path.rename, []

    def fail(self: Path, target: Path) -> Path:
        calls.append(target)
        if len(calls) == fails_at:
            raise error
        return rename(self, target)

    seen = OutputError if error is OSError else error
    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(seen), new_folder(path, overwrite=True) as folder:
        (folder / MARK).write_text("new")
    assert contents(tmp_path) == before


def test_what_appears_meanwhile_stays(tmp_path: Path) -> None:
    path = tmp_path / "run"
    with pytest.raises(OutputError, match="exists already"), new_folder(path):
        old_model(path)
    assert (path / MARK).read_text() == "old"


def test_a_checksum_is_of_the_content_and_not_of_its_layout() -> None:
    one = json_checksum({"a": [1, 2.5], "b": {"c": "é"}})
    assert json_checksum({"b": {"c": "é"}, "a": (1, 2.5)}) == one
    assert json_checksum({"b": {"c": "e"}, "a": [1, 2.5]}) != one
