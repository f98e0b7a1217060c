"""An experiment: which methods on which data, what the paper says, in frozen dataclasses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from palate.errors import SettingsError
from palate.finetuning import BackboneTraining
from palate.settings import build

#: What `over` may vary beside the settings of the method.
SHARES = ("share_of_users", "share_of_comparisons")
#: Columns in which a paper's number can stand beside ours.
COLUMNS = ("seen", "unseen", "overall", "auc", "log_loss", "worst_tenth", "adaptation_ms")
FIGURES = ("answers", "uncertainty", "axis", "adaptation", "spectrum", "coverage")


@dataclass(frozen=True)
class DataChoice:
    """Which comparisons.

    name: of a data set of `palate.data`, or "file". source: its file or folder; a relative one
    stands beside the experiment's file. options: of the data set's loader.
    """

    name: str
    source: str | None = None
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SplitChoice:
    """How the data are divided: the settings of a split but its seed; "own" is the data set's."""

    kind: Literal["users", "groups", "own"] = "users"
    seen: float = 0.5
    training: float = 0.65
    min_comparisons: int | None = None


@dataclass(frozen=True)
class Row:
    """A line of the table: a method with settings.

    tuned: settings by seed, as `palate bench tune` writes them. share_of_users and
    share_of_comparisons: how much of the training users, and of each one's training comparisons,
    is learned from. backbone: another than the experiment's. over: a name (a setting, a share or
    "backbone") with values, each of which makes a row. series and at: the curve that a row
    belongs to and its place there; `over` fills them in. train_backbone: settings of the backbone's
    training, `mode` among them; without any it stays frozen.
    """

    method: str
    settings: dict[str, Any] = field(default_factory=dict)
    tuned: dict[int, dict[str, Any]] = field(default_factory=dict)
    share_of_users: float = 1.0
    share_of_comparisons: float = 1.0
    backbone: str | None = None
    train_backbone: dict[str, Any] = field(default_factory=dict)
    over: dict[str, list[Any]] = field(default_factory=dict)
    series: str | None = None
    at: float | str | None = None

    def __post_init__(self) -> None:
        for name in SHARES:
            if not 0 < getattr(self, name) <= 1:
                raise SettingsError(f"{name} is {getattr(self, name)}; expected above 0, at most 1")
        if self.train_backbone:
            build(BackboneTraining, self.train_backbone)
        if len(self.over) > 1:
            raise SettingsError(f"over varies {', '.join(self.over)}; expected one name")

    def settings_of(self, seed: int) -> dict[str, Any]:
        """The method's settings with a seed: the row's own, over those tuned."""
        return {**self.tuned.get(seed, {}), **self.settings}

    def at_settings(self, settings: dict[str, Any]) -> Row:
        """The row with further settings in place of those tuned."""
        return replace(self, settings={**settings, **self.settings}, tuned={}, over={})

    def at_value(self, name: str, value: Any) -> Row:  # noqa: ANN401 - a setting has any type
        """The row of one value that `over` names."""
        plain = replace(self, over={}, at=value)
        if name == "backbone":
            return replace(plain, backbone=str(value))
        if name in SHARES:
            shares: dict[str, Any] = {name: float(value)}
            return replace(plain, **shares)
        return replace(plain, settings=self.settings | {name: value})


@dataclass(frozen=True)
class Paper:
    """Published numbers: where they stand, and accuracies in percent by row and column."""

    reference: str
    rows: dict[str, dict[str, float]]

    def __post_init__(self) -> None:
        for label, columns in self.rows.items():
            unknown = sorted(set(columns) - set(COLUMNS))
            if unknown:
                raise SettingsError(
                    f"column {', '.join(unknown)} of {label}; expected one of {', '.join(COLUMNS)}"
                )


@dataclass(frozen=True)
class Experiment:
    """One experiment file.

    name: of the file. rows by their label. paper: published numbers. gap: a line on why ours
    differ. axis: what a curve's x axis is called. figures: which to draw beside the tables.
    """

    name: str
    title: str
    data: DataChoice
    rows: dict[str, Row]
    backbone: str = "minilm"
    split: SplitChoice = SplitChoice()
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    paper: Paper | None = None
    gap: str | None = None
    axis: str | None = None
    figures: tuple[str, ...] = ("answers",)

    def __post_init__(self) -> None:
        if not self.rows:
            raise SettingsError("rows is empty; expected a method at least")
        if not self.seeds or len(set(self.seeds)) != len(self.seeds) or min(self.seeds) < 0:
            raise SettingsError(f"seeds are {list(self.seeds)}; expected distinct numbers from 0")
        unknown = sorted(set(self.figures) - set(FIGURES))
        if unknown:
            raise SettingsError(f"unknown figures {unknown}; expected of {', '.join(FIGURES)}")

    def lines(self) -> Iterator[tuple[str, Row]]:
        """Every row by its label, those of `over` each by itself."""
        for label, row in self.rows.items():
            if not row.over:
                yield label, row
            for name, values in row.over.items():
                series = replace(row, series=row.series or label)
                for value in values:
                    yield f"{label}, {name} {value}", series.at_value(name, value)

    def backbone_of(self, row: Row) -> str:
        """The row's backbone, or the experiment's."""
        return row.backbone or self.backbone


def build_experiment(name: str, content: Mapping[str, Any]) -> Experiment:
    """An experiment from a file's content; raises `SettingsError` naming the key."""
    values = dict(content) | {"name": name}
    seeds = values.get("seeds")
    if isinstance(seeds, int) and not isinstance(seeds, bool):
        values["seeds"] = list(range(seeds))
    for key, cls in (("data", DataChoice), ("split", SplitChoice), ("paper", Paper)):
        if values.get(key) is not None:
            values[key] = _part(cls, values[key], key)
    rows = values.get("rows", {})
    if not isinstance(rows, Mapping):
        raise SettingsError(f"rows is {rows!r}; expected labels with a method each")
    values["rows"] = {str(label): _part(Row, row, f"rows.{label}") for label, row in rows.items()}
    return build(Experiment, values)


def _part(cls: type[Any], content: object, key: str) -> object:
    if not isinstance(content, Mapping):
        raise SettingsError(f"{key} is {content!r}; expected names with values")
    try:
        return build(cls, content)
    except SettingsError as error:
        raise SettingsError(f"{key}: {error}") from error
