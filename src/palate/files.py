"""Files and folders that are whole or as they were, whatever interrupts the writing."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from palate.errors import PalateError


class OutputError(PalateError):
    """An output that cannot be written, or that exists already."""


def write_atomically(path: Path, text: str) -> None:
    """Replace a file's content in one step."""
    try:
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
def new_folder(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """A folder to fill that takes its place at the end, and leaves nothing behind on failure.

    Raises `OutputError` where something stands there already, unless `overwrite`.
    """
    refuse_existing(path, overwrite=overwrite)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    except OSError as error:
        raise OutputError(f"cannot write beside {path}: {error}") from error
    try:
        yield temporary
        temporary.chmod(0o777 & ~_umask())
        _take_place(temporary, path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def refuse_existing(path: Path, *, overwrite: bool = False) -> None:
    """Raise `OutputError` where a file or a folder with something in it stands in the way."""
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    if not path.is_dir():
        raise OutputError(f"{path} is a file; name a folder")
    if not overwrite:
        raise OutputError(f"{path} exists already: name another folder, or pass --overwrite")


def _take_place(temporary: Path, path: Path) -> None:
    if not path.exists():
        temporary.rename(path)
        return
    aside = temporary.with_name(f"{temporary.name}.old")
    path.rename(aside)
    temporary.rename(path)
    shutil.rmtree(aside)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
