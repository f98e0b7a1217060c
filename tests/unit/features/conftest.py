"""Tiny models, made once, which tests read and never write to; databases and disks with no room."""

from __future__ import annotations

import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from palate.features import resolve_backbone
from palate.features.backbone import Backbone
from tests.unit.features.models import save

Folder = Callable[..., Path]
Pages = Callable[[int], None]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """The folder of a kind of model with some options of `save`."""
    made: dict[str, Path] = {}

    def of(kind: str, **options: Any) -> Path:
        name = "-".join([kind, *(f"{key}={options[key]}" for key in sorted(options))])
        if name not in made:
            made[name] = save(tmp_path_factory.mktemp("models") / kind, kind, **options)
        return made[name]

    return of


@pytest.fixture
def backbone() -> Callable[..., Backbone]:
    """A loaded backbone in float32, on the processor."""

    def of(path: Path, **settings: Any) -> Backbone:
        return Backbone(resolve_backbone(str(path), dtype="float32", **settings), device="cpu")

    return of


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> Pages:
    """Let every database have so many pages, the way that SQLite itself says: disk full."""
    connect = sqlite3.connect

    def limit(count: int) -> None:
        def connect_to_few(*args: Any, **kwargs: Any) -> sqlite3.Connection:
            connection = connect(*args, **kwargs)
            connection.execute(f"PRAGMA max_page_count={count}")
            return connection

        monkeypatch.setattr(sqlite3, "connect", connect_to_few)

    return limit


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 512 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=512k", "palate-test", str(disk)]
    try:
        mounted = subprocess.run(words, capture_output=True, text=True, check=False)
    except OSError as error:
        pytest.skip(f"a small disk cannot be mounted: {error}")
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)
