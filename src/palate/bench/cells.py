"""Cells: one result of a data set, a method and a seed, addressed by all that it depends on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from palate.bench.code import code_fingerprint
from palate.bench.experiment import Experiment, Row
from palate.bench.material import Materials, split_settings
from palate.errors import BackboneError
from palate.files import OutputError, json_checksum, write_atomically
from palate.methods import method_named
from palate.settings import build

#: Bumped when what a cell holds changes: older cells are then computed again.
FORMAT = 1
#: In a cell's identity, what stands before the name of a backbone that is not at hand.
ABSENT = "absent:"

Status = Literal["done", "skipped", "failed"]
Content = dict[str, Any]


@dataclass(frozen=True)
class Cell:
    """One cell to be: a row's label and the row, a seed, and the identity of the result."""

    label: str
    row: Row
    seed: int
    identity: Mapping[str, Any]

    @property
    def key(self) -> str:
        """The identity's hash, the name of the cell's file."""
        return json_checksum(self.identity)[:24]


class CellStore:
    """A folder with one JSON file a cell, each written in one step."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, key: str) -> Path:
        """Where the cell is, or would be."""
        return self.folder / f"{key}.json"

    def read(self, key: str) -> Content | None:
        """The cell's content, None if it is not there. Raises `OutputError` if it is damaged."""
        path = self.path(key)
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise OutputError(f"the cell {path} is damaged: delete that file") from error
        if not isinstance(content, dict):
            raise OutputError(f"the cell {path} is damaged: delete that file")
        return content

    def settled(self, key: str) -> bool:
        """Whether the cell needs no computing: done or skipped. A failed one is tried again."""
        content = self.read(key)
        return content is not None and content["status"] in ("done", "skipped")

    def write(self, key: str, content: Content) -> None:
        """Keep a cell. Numbers that are none (NaN) are refused."""
        write_atomically(self.path(key), json.dumps(content, allow_nan=False) + "\n")


def cells_of(experiment: Experiment, materials: Materials) -> list[Cell]:
    """Every row with every seed, seed after seed, so that those that share a split follow."""
    return [
        Cell(label, row, seed, identity_of(experiment, materials, row, seed))
        for seed in experiment.seeds
        for label, row in experiment.lines()
    ]


def identity_of(
    experiment: Experiment, materials: Materials, row: Row, seed: int
) -> dict[str, Any]:
    """Exactly what the result depends on; neither title nor label is in it."""
    from importlib.metadata import version

    method_class = method_named(row.method)
    settings = build(method_class.settings_class, row.settings_of(seed))
    trained = {"train_backbone": row.train_backbone} if row.train_backbone else {}
    return {
        "format": FORMAT,
        "palate": version("palate"),
        "code": code_fingerprint(method_class, trains_backbone=bool(trained)),
        "data": materials.data(experiment.data, seed).digest,
        "split": _split_identity(experiment, materials, seed),
        "seed": seed,
        "method": row.method,
        "settings": json.loads(json.dumps(asdict(settings))),
        "backbone": _backbone(materials, experiment.backbone_of(row)),
        "share_of_users": row.share_of_users,
        "share_of_comparisons": row.share_of_comparisons,
        **trained,
    }


def _backbone(materials: Materials, name: str) -> str:
    """The fingerprint; where the backbone is not at hand its name, so that a skip does not last."""
    try:
        return materials.backbone(name).spec.fingerprint
    except BackboneError:
        return f"{ABSENT} {name}"


def _split_identity(experiment: Experiment, materials: Materials, seed: int) -> dict[str, Any]:
    if experiment.split.kind != "own":
        return asdict(split_settings(experiment.split, seed))
    split = materials.split(experiment.data, experiment.split, seed)
    uses = {name: getattr(split, name).tolist() for name in ("train", "reference", "evaluation")}
    return {"kind": "own", "rows": json_checksum(uses)}
