"""The numbers of a report: means over users, their spread over seeds, differences that are sure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from palate.bench.results import Line, Results
from palate.evaluation.bootstrap import Difference, Resampled, differences, mean_of, resample
from palate.evaluation.metrics import Floats, worst_tenth

GROUPS = ("seen", "unseen")


@dataclass(frozen=True)
class Figure:
    """A mean over seeds with the standard deviation over them (0 for one seed)."""

    mean: float
    sd: float
    seeds: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Figure:
        """From one value a seed."""
        sd = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
        return cls(float(np.mean(values)), sd, len(values))


@dataclass(frozen=True)
class Column:
    """A figure of the tables: where it comes from, and which end of it is better.

    paired: what differences between methods are taken of, user by user: groups and a figure.
    higher: whether more is better; None for a cost, which is nobody's aim.
    """

    name: str
    title: str
    unit: str
    higher: bool | None
    value: Callable[[Line, int], float]
    paired: tuple[tuple[str, ...], str] | None = None


def _mean(group: str, figure: str) -> Callable[[Line, int], float]:
    return lambda line, seed: float(line.values(group, figure, seed).mean())


def _both(figure: str) -> Callable[[Line, int], float]:
    return lambda line, seed: float(
        np.mean([line.values(group, figure, seed).mean() for group in GROUPS])
    )


def _worst(line: Line, seed: int) -> float:
    return worst_tenth(line.values("unseen", "accuracy", seed))


def _calibration(line: Line, seed: int) -> float:
    return float(line.part("unseen", seed)["calibration_error"])


def _training(line: Line, seed: int) -> float:
    return float(line.cells[seed]["seconds"]["training"])


def _adaptation(line: Line, seed: int) -> float:
    return float(line.cells[seed]["adaptation_ms"])


COLUMNS = (
    Column("seen", "seen", "%", True, _mean("seen", "accuracy"), (("seen",), "accuracy")),
    Column("unseen", "unseen", "%", True, _mean("unseen", "accuracy"), (("unseen",), "accuracy")),
    Column("overall", "overall", "%", True, _both("accuracy"), (GROUPS, "accuracy")),
    Column("auc", "ROC AUC", "%", True, _both("auc"), (GROUPS, "auc")),
    Column("log_loss", "log-loss", "", False, _mean("unseen", "log_loss"),
           (("unseen",), "log_loss")),
    Column("calibration", "calibration", "", False, _calibration),
    Column("worst_tenth", "worst tenth", "%", True, _worst),
    Column("training_s", "training", "s", None, _training),
    Column("adaptation_ms", "adapting", "\N{MICRO SIGN}s", None, _adaptation),
)  # fmt: skip
COLUMN = {column.name: column for column in COLUMNS}


@dataclass(frozen=True)
class Entry:
    """One cell of a table: ours, whether it is the column's best or tied with it, the paper's."""

    figure: Figure
    best: bool
    tied: bool
    paper: float | None


@dataclass(frozen=True, eq=False)
class Summary:
    """All numbers of one experiment, by row label and column name."""

    results: Results
    entries: dict[str, dict[str, Entry]]
    differences: Mapping[str, Mapping[tuple[str, str], Difference]]

    def to_json(self) -> dict[str, Any]:
        """Everything as one object."""
        return {
            "title": self.results.experiment["title"],
            "seeds": self.results.seeds,
            "rows": {
                label: {name: vars(e.figure) | _marks(e) for name, e in columns.items()}
                for label, columns in self.entries.items()
            },
            "differences": {
                name: [
                    {"first": a, "second": b, **vars(d), "tied": d.tied}
                    for (a, b), d in pairs.items()
                ]
                for name, pairs in self.differences.items()
            },
            "skipped": {line.label: line.skipped for line in self.results.lines if line.skipped},
            "failed": {line.label: line.failed for line in self.results.lines if line.failed},
            "missing": {
                line.label: list(line.missing) for line in self.results.lines if line.missing
            },
            "gap": self.results.experiment["gap"],
        }


def _marks(entry: Entry) -> dict[str, Any]:
    return {"best": entry.best, "tied": entry.tied, "paper": entry.paper}


def summarise(results: Results) -> Summary:
    """Means, spreads and paired differences; the bootstrap's draws are the same every time."""
    if not results.seeds:
        return Summary(results, {}, {})
    figures = {
        column.name: [
            Figure.of([column.value(line, seed) for seed in results.seeds]) for line in results.done
        ]
        for column in COLUMNS
    }
    labels = [line.label for line in results.done]
    sure = {
        column.name: differences(labels, resampled)
        for column in COLUMNS
        if (resampled := _resampled(results, column)) is not None
    }
    entries: dict[str, dict[str, Entry]] = {label: {} for label in labels}
    for column in COLUMNS:
        for label, entry in _entries(results, column, labels, figures, sure).items():
            entries[label][column.name] = entry
    return Summary(results, entries, sure)


def _entries(
    results: Results,
    column: Column,
    labels: list[str],
    figures: dict[str, list[Figure]],
    sure: Mapping[str, Mapping[tuple[str, str], Difference]],
) -> dict[str, Entry]:
    """A column: which row is best, and which cannot be told from it."""
    means = [figure.mean if column.higher else -figure.mean for figure in figures[column.name]]
    best = labels[int(np.argmax(means))]
    published = (results.experiment["paper"] or {}).get("rows", {})
    result = {}
    for label, figure in zip(labels, figures[column.name], strict=True):
        pairs = sure.get(column.name, {})
        difference = pairs.get((best, label)) or pairs.get((label, best))
        tied = label != best and difference is not None and difference.tied
        paper = published.get(label, {}).get(column.name)
        is_best = label == best and column.higher is not None
        result[label] = Entry(figure, is_best, tied, paper)
    return result


def _resampled(results: Results, column: Column) -> Resampled | None:
    """The rows' means of a column with the same users redrawn; None where users do not match."""
    if column.paired is None or len(results.done) < 2:
        return None
    groups, figure = column.paired
    parts, generator = [], np.random.default_rng(0)
    for group in groups:
        aligned = [_aligned(results.done, group, figure, seed) for seed in results.seeds]
        if any(values.shape[1] == 0 for values in aligned):
            return None
        parts.append(resample(aligned, generator))
    return mean_of(parts)


def _aligned(lines: list[Line], group: str, figure: str, seed: int) -> Floats:
    """(M, U) a figure of the users that all rows share, in one order."""
    users = [line.part(group, seed)["users"] for line in lines]
    shared = sorted(set.intersection(*map(set, users)))
    rows = []
    for line, names in zip(lines, users, strict=True):
        place = {name: i for i, name in enumerate(names)}
        values = line.values(group, figure, seed)
        rows.append(values[[place[name] for name in shared]])
    return np.array(rows).reshape(len(lines), len(shared))
