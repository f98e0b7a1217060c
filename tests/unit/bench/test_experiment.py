"""Experiment files: what is read, what is refused and how, what is inherited and written back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from palate.bench.experiment_file import read_experiment, write_tuned
from palate.errors import ExperimentError
from palate.methods import METHODS

EXPERIMENTS = sorted(Path(__file__).parents[3].glob("experiments/*.yaml"))
PLAIN = "title: T\ndata: {name: file, source: a.jsonl}\nrows:\n  bt: {method: bt}\n"


def write(folder: Path, text: str, name: str = "e.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


REFUSED = {
    "title: T\n": "data",
    PLAIN + "colour: red\n": "unknown setting colour",
    PLAIN.replace("name: file", "nam: file"): "data: unknown setting nam",
    PLAIN.replace("method: bt", "metod: bt"): "rows.bt: unknown setting metod",
    PLAIN.replace("method: bt", "method: gt"): "unknown method 'gt'",
    PLAIN.replace("{method: bt}", "{method: bt, settings: {bases: 3}}"): "rows.bt: unknown setting",
    PLAIN.replace("{method: bt}", "{method: bt, settings: {steps: few}}"): "setting steps is 'few'",
    PLAIN.replace("{method: bt}", "{method: bt, tuned: {0: {bases: 3}}}"): "unknown setting bases",
    PLAIN.replace("{method: bt}", "{method: bt, over: {steps: [0]}}"): "setting steps is 0",
    PLAIN.replace("{method: bt}", "{method: bt, share_of_users: 0}"): "expected above 0, at most 1",
    PLAIN.replace("{method: bt}", "bt"): "rows.bt is 'bt'",
    PLAIN + "seeds: [1, 1]\n": "expected distinct numbers",
    PLAIN + "seeds: []\n": "seeds are []",
    PLAIN + "seeds: some\n": "seeds",
    PLAIN + "split: {kind: halves}\n": "split: setting kind is 'halves'",
    PLAIN + "figures: [answers, moon]\n": "unknown figures ['moon']",
    PLAIN + "paper: {reference: R, rows: {bt: {sen: 3}}}\n": "paper: column sen of bt",
    "title: T\ndata: {name: file}\nrows: {}\n": "rows is empty",
    "- a\n": "holds no experiment",
    "title: [\n": "is no YAML",
    "title: T\ntitle: U\n": "is no YAML",
    "extends: e.yaml\n": "extends this file",
    "extends: none.yaml\n": "there is no experiment",
}


@pytest.mark.parametrize(("text", "message"), REFUSED.items(), ids=REFUSED.values())
def test_what_is_wrong_is_named_with_its_file_and_key(
    text: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ExperimentError) as error:
        read_experiment(write(tmp_path, text))
    assert message in str(error.value)
    assert str(tmp_path) in str(error.value)


def test_seeds_are_a_number_or_a_list(tmp_path: Path) -> None:
    assert read_experiment(write(tmp_path, PLAIN)).seeds == (0, 1, 2, 3, 4)
    assert read_experiment(write(tmp_path, PLAIN + "seeds: 2\n")).seeds == (0, 1)
    assert read_experiment(write(tmp_path, PLAIN + "seeds: [7]\n")).seeds == (7,)


def test_over_makes_a_row_of_each_value(tmp_path: Path) -> None:
    row = "{method: vrf, settings: {hidden: 64}, over: {kl: [0.0, 0.1]}}"
    lines = dict(read_experiment(write(tmp_path, PLAIN.replace("{method: bt}", row))).lines())
    assert list(lines) == ["bt, kl 0.0", "bt, kl 0.1"]
    assert lines["bt, kl 0.1"].settings == {"hidden": 64, "kl": 0.1}
    assert [line.at for line in lines.values()] == [0.0, 0.1]
    assert {line.series for line in lines.values()} == {"bt"}


@pytest.mark.parametrize(
    ("name", "value"), [("share_of_users", 0.5), ("share_of_comparisons", 0.5), ("backbone", "b")]
)
def test_over_varies_more_than_settings(name: str, value: Any, tmp_path: Path) -> None:
    row = f"{{method: bt, over: {{{name}: [{value}]}}}}"
    ((_, line),) = read_experiment(write(tmp_path, PLAIN.replace("{method: bt}", row))).lines()
    assert getattr(line, name) == value
    assert line.settings == {}


def test_tuned_settings_are_their_seeds_and_give_way_to_the_rows_own(tmp_path: Path) -> None:
    row = "{method: bt, settings: {steps: 9}, tuned: {1: {steps: 7, warmup: 3}}}"
    experiment = read_experiment(write(tmp_path, PLAIN.replace("{method: bt}", row)))
    assert experiment.rows["bt"].settings_of(0) == {"steps": 9}
    assert experiment.rows["bt"].settings_of(1) == {"steps": 9, "warmup": 3}


def test_a_file_extends_another(tmp_path: Path) -> None:
    write(tmp_path, PLAIN + "  vrf: {method: vrf}\nseeds: 2\n", "base.yaml")
    text = "extends: base.yaml\ntitle: U\nrows:\n  bt: null\n  vrf: {settings: {kl: 0.5}}\n"
    experiment = read_experiment(write(tmp_path, text))
    assert experiment.title == "U"
    assert experiment.name == "e"
    assert experiment.seeds == (0, 1)
    assert {label: row.settings for label, row in experiment.rows.items()} == {"vrf": {"kl": 0.5}}


@pytest.mark.parametrize(
    ("change", "kept"),
    [("title: U", True), ("split: {kind: groups}", False), ("backbone: b", False)],
)
def test_tuned_settings_are_inherited_on_the_same_division_alone(
    change: str, kept: bool, tmp_path: Path
) -> None:
    """What was chosen on another division may have been chosen on texts that are evaluated here."""
    write(tmp_path, PLAIN.replace("{method: bt}", "{method: bt, tuned: {0: {steps: 7}}}"), "b.yaml")
    experiment = read_experiment(write(tmp_path, f"extends: b.yaml\n{change}\n"))
    assert bool(experiment.rows["bt"].tuned) == kept


def test_tuned_settings_are_written_and_the_rest_stays(tmp_path: Path) -> None:
    path = write(tmp_path, "# Why.\n" + PLAIN.replace("{method: bt}", "{method: bt}  # plain"))
    write_tuned(path, "bt", 3, {"weight_decay": 8.0, "steps": None})
    write_tuned(path, "bt", 4, {"weight_decay": 2.0})
    text = path.read_text()
    assert text.startswith("# Why.\ntitle: T\n")
    assert "# plain" in text
    tuned = read_experiment(path).rows["bt"].tuned
    assert tuned == {3: {"weight_decay": 8.0, "steps": None}, 4: {"weight_decay": 2.0}}


@pytest.mark.parametrize("path", EXPERIMENTS, ids=[path.stem for path in EXPERIMENTS])
def test_the_experiments_of_the_project_are_sound(path: Path) -> None:
    experiment = read_experiment(path)
    labels = {label for label, _ in experiment.lines()}
    if experiment.paper is not None:
        assert set(experiment.paper.rows) <= labels, "a paper's number stands beside no row"
        assert experiment.gap is not None
    assert experiment.axis is not None or "axis" not in experiment.figures


def test_the_main_tables_hold_every_method() -> None:
    for name in ("opinions", "arguments", "attributes", "personalllm-very", "tldr-100", "prism"):
        (path,) = (path for path in EXPERIMENTS if path.stem == name)
        rows = read_experiment(path).rows.values()
        assert {row.method for row in rows} == set(METHODS)
