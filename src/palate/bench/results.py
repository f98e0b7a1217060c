"""A run read back: what its index names and what its cells hold."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from palate.bench.cells import CellStore, Content
from palate.bench.runner import CELLS, INDEX
from palate.errors import ExperimentError
from palate.evaluation.metrics import Floats


@dataclass(frozen=True, eq=False)
class Line:
    """A row of the experiment with its cells by seed: those that are done, and what became of
    the others.
    """

    label: str
    method: str
    series: str | None
    at: float | str | None
    cells: dict[int, Content]
    skipped: str | None
    failed: dict[int, str]
    missing: tuple[int, ...]

    def values(self, group: str, figure: str, seed: int, answers: str | None = None) -> Floats:
        """(U,) a figure of the seen or the unseen users of one seed."""
        return np.array(self.part(group, seed, answers)[figure], dtype=np.float64)

    def part(self, group: str, seed: int, answers: str | None = None) -> Content:
        """A cell's figures of seen users, or of unseen ones after some answers (None: the most)."""
        cell = self.cells[seed]
        if group == "seen":
            part: Content = cell["seen"]
        else:
            part = cell["unseen"][answers or list(cell["unseen"])[-1]]
        return part


@dataclass(frozen=True, eq=False)
class Results:
    """An experiment's run."""

    name: str
    experiment: dict[str, Any]
    data: dict[str, Any]
    lines: list[Line]

    @cached_property
    def done(self) -> list[Line]:
        """Rows with results."""
        return [line for line in self.lines if line.cells]

    @cached_property
    def seeds(self) -> list[int]:
        """Seeds that all rows with results have: every figure is over these."""
        have = [set(line.cells) for line in self.done]
        return sorted(set.intersection(*have)) if have else []

    @cached_property
    def answers(self) -> int:
        """The most comparisons that an unseen user is adapted on in any seed."""
        cells = [line.cells[seed] for line in self.done for seed in self.seeds]
        return max((int(n) for cell in cells for n in cell["unseen"]), default=0)


def read_results(index: Path) -> Results:
    """The run of an index file; raises `ExperimentError` where it is none, or damaged."""
    try:
        content = json.loads(index.read_text(encoding="utf-8"))
        experiment, rows, data = content["experiment"], content["rows"], content["data"]
    except FileNotFoundError as error:
        raise ExperimentError(f"there is no run {index}: palate bench run writes one") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ExperimentError(f"the run {index} is damaged: run the experiment again") from error
    store = CellStore(index.parent.parent / CELLS)
    lines = [_line(label, row, store) for label, row in rows.items()]
    return Results(experiment["name"], experiment, data, lines)


def _line(label: str, row: dict[str, Any], store: CellStore) -> Line:
    found = {int(seed): store.read(key) for seed, key in row["cells"].items()}
    cells = {seed: cell for seed, cell in found.items() if cell and cell["status"] == "done"}
    others = {seed: cell for seed, cell in found.items() if cell and cell["status"] != "done"}
    reasons = [cell["reason"] for cell in others.values() if cell["status"] == "skipped"]
    failed = {s: cell["error"] for s, cell in others.items() if cell["status"] == "failed"}
    return Line(
        label=label,
        method=row["method"],
        series=row["series"],
        at=row["at"],
        cells=cells,
        skipped=reasons[0] if reasons else None,
        failed=failed,
        missing=tuple(seed for seed, cell in found.items() if cell is None),
    )


def find_runs(out: Path, asked: list[Path]) -> list[Path]:
    """Index files of the experiments asked for (as YAML file, folder or index), or of all.

    Raises `ExperimentError` where there is none.
    """
    if not asked:
        found = sorted(out.glob(f"*/{INDEX}"))
        if not found:
            raise ExperimentError(f"no run in {out}: palate bench run EXPERIMENT.yaml writes one")
        return found
    return [_index_of(path, out) for path in asked]


def _index_of(path: Path, out: Path) -> Path:
    if path.suffix in (".yaml", ".yml"):
        return out / path.stem / INDEX
    return path / INDEX if path.is_dir() else path
