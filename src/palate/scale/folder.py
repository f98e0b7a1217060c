"""A job's folder: its manifest, which parts are finished, and one job at a time in it."""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from palate.errors import ScaleError
from palate.files import write_atomically
from palate.scale.whole import TEMPORARY

MANIFEST = "manifest.json"
LOCK = ".lock"
#: What a job needs until it is finished.
WORK = ".work"
#: Where a job keeps the features that it had to encode itself.
FEATURES = "features"
#: Bumped when the files of a job change their meaning.
FORMAT = 1


def part_path(folder: Path, part: int) -> Path:
    """Where a finished part stands."""
    return folder / f"part-{part:06}.parquet"


def piece_path(folder: Path, piece: int) -> Path:
    """Where a piece of the input waits, sorted into parts."""
    return folder / WORK / f"piece-{piece:06}.arrow"


@contextmanager
def begun(folder: Path, manifest: Mapping[str, Any]) -> Iterator[None]:
    """Begin a job in its folder, or continue it; nobody else may meanwhile.

    Raises `ScaleError` where something else stands there, another job or what is none of ours.
    """
    try:
        check_ours(folder)
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / LOCK).open("w") as lock:
            _take(lock.fileno(), folder)
            _check_or_write(folder, manifest)
            (folder / WORK).mkdir(exist_ok=True)
            _sweep(folder)
            yield
            shutil.rmtree(folder / WORK)
            _sweep(folder)
    except OSError as error:
        raise ScaleError(f"cannot write in {folder}: {error}; what is finished stays") from error


def read_manifest(folder: Path, kind: str, command: str) -> dict[str, Any]:
    """The manifest of a finished job; raises `ScaleError` where it is no such, or not finished."""
    manifest = _read(folder)
    if manifest is None or manifest.get("kind") != kind:
        raise ScaleError(f"{folder} holds no {kind}: name a folder that `{command}` wrote")
    if manifest.get("format") != FORMAT:
        raise ScaleError(
            f"{folder} has format {manifest.get('format')!r}, this version reads {FORMAT}: "
            f"upgrade palate, or run `{command}` again"
        )
    missing = [p for p in range(manifest["parts"]) if not part_path(folder, p).is_file()]
    if missing:
        raise ScaleError(
            f"{folder} is not finished: {len(missing)} of {manifest['parts']} parts are missing; "
            f"run the same `{command}` again, it goes on where it was"
        )
    return manifest


def _read(folder: Path) -> dict[str, Any] | None:
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ScaleError(
            f"{folder / MANIFEST} cannot be read: {error}; use a new folder"
        ) from error
    return manifest if isinstance(manifest, dict) else None


def check_ours(folder: Path) -> None:
    """Raise `ScaleError` where something stands in a folder that no job wrote."""
    if folder.exists() and not folder.is_dir():
        raise ScaleError(f"{folder} is a file; name a folder")
    if not (folder / MANIFEST).exists() and _holds_more(folder):
        raise ScaleError(
            f"{folder} is not empty and holds no {MANIFEST}, so nothing of ours: "
            "name another folder"
        )


def _holds_more(folder: Path) -> bool:
    """Whether there is something else than what a job leaves before its manifest."""
    if not folder.exists():
        return False
    known = {LOCK, WORK} | ({FEATURES} if (folder / FEATURES / MANIFEST).exists() else set())
    return any(path.name not in known for path in folder.iterdir())


def _take(lock: int, folder: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ScaleError(f"another job is writing in {folder}: wait for it, or stop it") from error


def _check_or_write(folder: Path, manifest: Mapping[str, Any]) -> None:
    wanted = {"format": FORMAT, **manifest}
    found = _read(folder)
    if found is None:
        write_atomically(folder / MANIFEST, json.dumps(wanted, indent=1) + "\n")
        return
    differing = [name for name in {**found, **wanted} if found.get(name) != wanted.get(name)]
    if differing:
        words = "; ".join(f"{n}: was {found.get(n)}, is {wanted.get(n)}" for n in differing)
        raise ScaleError(
            f"{folder} holds another job ({words}): name another folder, or continue that one "
            "with what it was begun with"
        )


def _sweep(folder: Path) -> None:
    """Remove what killed writers left."""
    for place in (folder, folder / WORK):
        for path in place.glob(f"{TEMPORARY}*"):
            path.unlink(missing_ok=True)
