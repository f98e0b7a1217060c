"""`palate data sets` and `palate data prepare`: public data as comparisons with a card."""

from __future__ import annotations

from pathlib import Path

import pytest

from palate import PreferenceData
from palate.data.benchmarks import BENCHMARKS, load_benchmark
from tests.cli.conftest import Palate
from tests.unit.data.benchmarks.official import prism, write_jsonl


@pytest.fixture
def official(tmp_path: Path) -> Path:
    """A copy of PRISM in its official schema."""
    write_jsonl(tmp_path / "prism" / "utterances.jsonl", prism(10))
    return tmp_path / "prism"


def test_every_data_set_is_listed_with_its_options(palate: Palate) -> None:
    listed = palate("data", "sets", "--json").json
    assert set(listed) == set(BENCHMARKS)
    assert listed["tldr"]["options"]["training"] == 100
    assert "prism-roleplay" in palate("data", "sets").out


def test_a_data_set_is_written_as_comparisons_with_their_use(
    palate: Palate, official: Path, tmp_path: Path
) -> None:
    words = ("data", "prepare", "prism", "--source", official, "--out", tmp_path / "out")
    result = palate(*words, "--seed", 3, "--json")
    assert result.code == 0, result.err
    expected = load_benchmark("prism", source=official, seed=3)
    written = PreferenceData.load(tmp_path / "out" / "comparisons.jsonl")
    assert result.json["card"]["digest"] == expected.data.digest
    assert written.responses == expected.data.responses
    assert written.prompts == expected.data.prompts  # conversations stay conversations
    lines = (tmp_path / "out" / "comparisons.jsonl").read_text().splitlines()
    assert expected.split is not None
    for use in ("train", "reference", "evaluation"):
        count = sum(f'"use": "{use}"' in line for line in lines)
        assert count == len(getattr(expected.split, use)) > 0
    assert "# PRISM" in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("mnist",), "unknown benchmark 'mnist'; expected one of personalllm"),
        (("prism", "--set", "flow=1"), "unknown setting flow"),
        (("prism", "--source", "nowhere"), "nowhere"),
        (("file",), "source"),
    ],
)
def test_what_cannot_be_prepared_is_refused_and_nothing_is_written(
    palate: Palate, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    result = palate("data", "prepare", *words, "--out", tmp_path / "out")
    assert result.code == 2
    assert message in result.err
    assert not (tmp_path / "out").exists()


def test_a_folder_that_holds_something_is_not_touched(
    palate: Palate, official: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    result = palate("data", "prepare", "prism", "--source", official, "--out", tmp_path / "out")
    assert result.code == 2
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]
