"""Folders of tiny models, made once: the tests read them and never write into them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from palate.features import resolve_backbone
from palate.features.backbone import Backbone
from tests.unit.features.models import save

Folder = Callable[..., Path]


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
