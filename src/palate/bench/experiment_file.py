"""Experiments as YAML files: read, with what they extend, and tuned settings written back."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from palate.bench.experiment import Experiment, build_experiment
from palate.errors import ExperimentError, SettingsError
from palate.files import write_atomically
from palate.methods import method_named
from palate.settings import build

#: Tuned settings hold where these are the same: other divisions would let evaluation into tuning.
TUNED_ON = ("data", "split", "backbone")


def read_experiment(path: Path) -> Experiment:
    """The experiment in a YAML file.

    Raises `ExperimentError` naming the file and the key where something is unknown or wrong, the
    methods' settings too.
    """
    try:
        experiment = build_experiment(path.stem, _content(path))
        for label, row in experiment.lines():
            settings_class = method_named(row.method).settings_class
            for seed in experiment.seeds:
                _check(settings_class, row.settings_of(seed), f"rows.{label}")
        return experiment
    except SettingsError as error:
        raise ExperimentError(f"{path}: {error}") from error


def _check(settings_class: type[Any], settings: dict[str, Any], key: str) -> None:
    try:
        build(settings_class, settings)
    except SettingsError as error:
        raise SettingsError(f"{key}: {error}") from error


def write_tuned(path: Path, label: str, seed: int, settings: Mapping[str, Any]) -> None:
    """Put the settings that were chosen for a seed into a row; the rest of the file stays."""
    yaml = _yaml("rt")
    content = yaml.load(_text(path))
    row = content.setdefault("rows", {}).setdefault(label, {})
    row.setdefault("tuned", {})[seed] = _flow(settings)
    stream = io.StringIO()
    yaml.dump(content, stream)
    write_atomically(path, stream.getvalue())


def _flow(settings: Mapping[str, Any]) -> Any:  # noqa: ANN401 - a node of the YAML library
    from ruamel.yaml.comments import CommentedMap

    node = CommentedMap(
        {name: list(v) if isinstance(v, tuple) else v for name, v in settings.items()}
    )
    node.fa.set_flow_style()
    return node


def _content(path: Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """A file's content over that of the file which it extends."""
    from ruamel.yaml.error import YAMLError

    try:
        content = _yaml("safe").load(_text(path))
    except YAMLError as error:
        raise ExperimentError(f"{path} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise ExperimentError(f"{path} holds no experiment; expected title, data and rows")
    base = content.pop("extends", None)
    if base is None:
        return content
    other = path.parent / str(base)
    if other.resolve() in (p.resolve() for p in (path, *above)):
        raise ExperimentError(f"{path}: extends {base}, which extends this file")
    return _extend(_content(other, (path, *above)), content)


def _extend(base: dict[str, Any], content: dict[str, Any]) -> dict[str, Any]:
    """`content` takes the place of what `base` says; its rows too, unless it says null."""
    rows = base.get("rows", {})
    if any(base.get(key) != content.get(key, base.get(key)) for key in TUNED_ON):
        rows = {label: _without_tuned(row) for label, row in rows.items()}
    merged = {**base, "rows": rows, **{k: v for k, v in content.items() if k != "rows"}}
    for label, row in (content.get("rows") or {}).items():
        known = merged["rows"].get(label)
        both = isinstance(known, dict) and isinstance(row, dict)
        merged["rows"][label] = {**known, **row} if both else row
    merged["rows"] = {label: row for label, row in merged["rows"].items() if row is not None}
    return merged


def _without_tuned(row: Any) -> Any:  # noqa: ANN401 - checked when the experiment is built
    return {k: v for k, v in row.items() if k != "tuned"} if isinstance(row, dict) else row


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ExperimentError(f"there is no experiment {path}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ExperimentError(f"cannot read {path}: {error}") from error


def _yaml(kind: str) -> Any:  # noqa: ANN401 - the library's reader
    try:
        from ruamel.yaml import YAML
    except ImportError as error:
        raise ExperimentError(
            "experiments need a reader of YAML: pip install 'palate[bench]'"
        ) from error
    yaml = YAML(typ=kind)
    yaml.width = 100
    if kind == "rt":
        yaml.preserve_quotes = True
    return yaml
