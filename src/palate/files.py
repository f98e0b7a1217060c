"""Files and folders that are whole or as they were, whatever interrupts the writing."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from palate.errors import PalateError

#: A folder that holds this file was written by us: it is part of every model.
MARK = "training.safetensors"
#: The one folder that a folder of ours may hold: a backbone that was trained with a model.
OWN_FOLDER = "backbone"


class OutputError(PalateError):
    """An output that cannot be written, or that exists already."""


def json_checksum(content: Mapping[str, Any]) -> str:
    """SHA-256 of what a JSON file holds, however it is laid out."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def write_atomically(path: Path, text: str) -> None:
    """Replace a file's content in one step. Raises `OutputError`, also for what is no file."""
    try:
        if path.exists() and not path.is_file():  # a folder, or a device that would be replaced
            raise OutputError(f"cannot write {path}: it is no file; name a file")
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        temporary = Path(name)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error}") from error


@contextmanager
def new_folder(path: Path, *, overwrite: bool = False, mark: str = MARK) -> Iterator[Path]:
    """A folder to fill that takes its place at the end, and leaves nothing behind on failure.

    Raises `OutputError` where something stands there already, unless `overwrite`: see
    `refuse_existing`.
    """
    refuse_existing(path, overwrite=overwrite, mark=mark)
    place = Path(os.path.realpath(path))
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=place.parent, prefix=f".{place.name}."))
    except OSError as error:
        raise OutputError(f"cannot write beside {path}: {error}") from error
    new, aside = temporary / "new", temporary / "old"
    try:
        new.mkdir()
        yield new
        refuse_existing(path, overwrite=overwrite, mark=mark)
        if place.exists():
            place.rename(aside)
        new.rename(place)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error}") from error
    finally:
        if aside.exists() and not place.exists():
            aside.rename(place)
        shutil.rmtree(temporary, ignore_errors=True)


def refuse_existing(path: Path, *, overwrite: bool = False, mark: str = MARK) -> None:
    """Raise `OutputError` where a file or a folder with something in it stands in the way.

    `overwrite` lets a folder be replaced that holds files, `mark` among them, and no folder but
    `OWN_FOLDER`: never one such as one's home. Nothing may be in the way of making it either.
    """
    try:
        if path.exists() and not path.is_dir():
            raise OutputError(f"{path} is a file; name a folder")
        entries = list(path.iterdir()) if path.exists() else []
        if entries and not overwrite:
            raise OutputError(f"{path} exists already: name another folder, or pass --overwrite")
        if entries and not (path / mark).is_file():
            raise OutputError(f"{path} holds no {mark}, so nothing of ours: name another folder")
        if any(entry.is_dir() and entry.name != OWN_FOLDER for entry in entries):
            raise OutputError(f"{path} holds folders, so more than ours: name another folder")
        above = next(folder for folder in path.absolute().parents if folder.exists())
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error}") from error
    if not above.is_dir():
        raise OutputError(f"cannot write {path}: {above} is a file")
    if not os.access(above, os.W_OK | os.X_OK):
        raise OutputError(f"cannot write {path}: no permission in {above}")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
