"""A small experiment on the toy world: its files, its place, and how to run it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from palate.bench.experiment_file import read_experiment
from palate.bench.material import Place
from palate.bench.runner import Outcome, run
from palate.data import PreferenceData
from tests import toy

QUICK = {"steps": 12, "weight_decay": 8.0}


def content(backbone: Path, **changes: Any) -> dict[str, Any]:
    """What an experiment's file holds."""
    rows = {"bt": {"method": "bt", "settings": QUICK}, "ref": {"method": "ref"}}
    vrf = {"method": "vrf", "settings": QUICK | {"estimation": "gradient"}}
    return {
        "title": "Toy",
        "data": {"name": "file", "source": "toy.jsonl"},
        "backbone": str(backbone),
        "seeds": [0, 1],
        "rows": rows | {"vrf": vrf},
    } | changes


@dataclass
class Bench:
    """A folder with the toy comparisons, an experiment's file and its runs."""

    folder: Path
    backbone: Path
    out: Path = field(init=False)

    def __post_init__(self) -> None:
        self.out = self.folder / "runs"

    @property
    def place(self) -> Place:
        return Place(self.folder, {}, self.folder / "cache")

    def write(self, name: str = "toy", **changes: Any) -> Path:
        path = self.folder / f"{name}.yaml"
        with path.open("w", encoding="utf-8") as stream:
            YAML().dump(content(self.backbone, **changes), stream)
        return path

    def run(self, path: Path, jobs: int = 1) -> Outcome:
        return run(read_experiment(path), self.out, self.place, jobs=jobs)

    def cells(self) -> dict[str, Any]:
        """Every cell's content by its file."""
        paths = sorted((self.out / "cells").glob("*.json"))
        return {path.name: json.loads(path.read_text()) for path in paths}

    def cell(self, label: str, seed: int, name: str = "toy") -> Any:
        """One cell, by the index of a run."""
        index = json.loads((self.out / name / "run.json").read_text())
        key = index["rows"][label]["cells"][str(seed)]
        return json.loads((self.out / "cells" / f"{key}.json").read_text())


def make_bench(folder: Path, groups: bool = False) -> Bench:
    """Write the toy comparisons, a backbone, and its features into a folder."""
    rows = toy.rows(users=16, each=30)
    if groups:
        rows = [row | {"group": f"topic {row['prompt'][-1]}"} for row in rows]
    (folder / "toy.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    made = Bench(folder, toy.make_backbone(folder / "backbone"))
    data = PreferenceData.load(folder / "toy.jsonl")
    toy.fill_cache(folder / "cache", made.backbone, data.item_texts())
    return made
