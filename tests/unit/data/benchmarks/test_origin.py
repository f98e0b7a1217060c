from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path
from typing import Any

import datasets
import pytest

from palate.data.benchmarks import load_benchmark
from palate.data.benchmarks.origin import Origin
from palate.errors import DataError
from tests.unit.data.benchmarks.official import (
    comparison,
    personalllm,
    prism,
    write_jsonl,
    write_parquet,
)

TWO_PARTS = Origin("someone/something", None, ("train", "test"))
CONFIG = Origin("someone/something", "comparisons", ("train", "validation"))
ONE_PART = Origin("someone/something", "utterances", ("train",))

TRAIN, TEST = [{"a": 1, "b": {"c": "x"}}, {"a": 2, "b": None}], [{"a": 3, "b": None}]


def values(origin: Origin, part: str, source: Path) -> list[Any]:
    return [row.values["a"] for row in origin.read(part, source)]


def test_the_layout_of_the_hub_is_read(tmp_path: Path) -> None:
    write_parquet(tmp_path / "data" / "train-00000-of-00002.parquet", TRAIN)
    write_parquet(tmp_path / "data" / "train-00001-of-00002.parquet", TRAIN)
    write_parquet(tmp_path / "data" / "test-00000-of-00001.parquet", TEST)
    assert values(TWO_PARTS, "train", tmp_path) == [1, 2, 1, 2]
    assert values(TWO_PARTS, "test", tmp_path) == [3]


def test_a_config_is_a_folder_or_a_file(tmp_path: Path) -> None:
    for config, rows in (("comparisons", TRAIN), ("axis", TEST)):
        write_parquet(tmp_path / "a" / config / "train" / "0000.parquet", rows)
        write_parquet(tmp_path / "a" / config / "validation" / "0000.parquet", rows)
    assert values(CONFIG, "validation", tmp_path / "a") == [1, 2]
    assert values(CONFIG, "validation", tmp_path / "a" / "comparisons") == [1, 2]
    write_jsonl(tmp_path / "b" / "utterances.jsonl", TRAIN)
    write_jsonl(tmp_path / "b" / "survey.jsonl", TEST)
    assert values(ONE_PART, "train", tmp_path / "b") == [1, 2]
    assert values(ONE_PART, "train", tmp_path / "b" / "utterances.jsonl") == [1, 2]


def test_a_folder_that_datasets_saved_is_read(tmp_path: Path) -> None:
    train, test = datasets.Dataset.from_list(TRAIN), datasets.Dataset.from_list(TEST)
    datasets.DatasetDict(train=train, test=test).save_to_disk(tmp_path / "all")
    assert values(TWO_PARTS, "test", tmp_path / "all") == [3]
    train.save_to_disk(tmp_path / "one")
    assert values(ONE_PART, "train", tmp_path / "one") == [1, 2]
    (nested,) = [row.values["b"] for row in ONE_PART.read("train", tmp_path / "one")][:1]
    assert nested == {"c": "x"}
    with pytest.raises(DataError, match="holds no part 'test'"):
        TWO_PARTS.read("train", tmp_path / "one")
    (tmp_path / "one" / "dataset_info.json").write_text("{")
    with pytest.raises(DataError, match="cannot be read"):
        ONE_PART.read("train", tmp_path / "one")


def test_gzipped_lines_are_numbered_as_a_person_counts(tmp_path: Path) -> None:
    path = tmp_path / "utterances.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"a": 1}\n\n{"a": 2}\n'))
    assert [(row.number, row.file) for row in ONE_PART.read("train", path)] == [
        (1, str(path)),
        (3, str(path)),
    ]


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: no such file or folder"):
        TWO_PARTS.read("train", tmp_path / "nowhere")
    with pytest.raises(DataError, match="is one file; expected a folder with train, test"):
        TWO_PARTS.read("train", write_jsonl(tmp_path / "train.jsonl", TRAIN))
    with pytest.raises(DataError, match="whose name says 'test'; copy someone/something"):
        TWO_PARTS.read("test", tmp_path)
    write_jsonl(tmp_path / "x" / "one.jsonl", TRAIN)
    write_jsonl(tmp_path / "x" / "other.jsonl", TRAIN)
    with pytest.raises(DataError, match="whose name says 'utterances train'"):
        ONE_PART.read("train", tmp_path / "x")


def test_damaged_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "train.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match=r"train\.parquet: not a whole Parquet file"):
        ONE_PART.read("train", tmp_path / "train.parquet")
    (tmp_path / "train.jsonl").write_text('{"a": 1}\n{"a": \n[1]\n')
    with pytest.raises(DataError, match="row 2: not JSON") as raised:
        ONE_PART.read("train", tmp_path / "train.jsonl")
    assert [problem.row for problem in raised.value.problems] == [2, 3]
    (tmp_path / "train.csv").write_text("a\n1\n")
    with pytest.raises(DataError, match=r"unknown kind of file; expected .parquet"):
        ONE_PART.read("train", tmp_path / "train.csv")


def test_the_hub_is_asked_for_id_config_and_part(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def load_dataset(*args: Any, **kwargs: Any) -> datasets.Dataset:
        asked.append((args, kwargs))
        return datasets.Dataset.from_list(prism(4))

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    prepared = load_benchmark("prism")
    assert asked == [(("HannahRoseKirk/prism-alignment", "utterances"), {"split": "train"})]
    assert prepared.card.source == "HannahRoseKirk/prism-alignment"


def test_a_script_of_the_hub_is_never_run_but_its_parquet_copy_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def load_dataset(*args: Any, **kwargs: Any) -> datasets.Dataset:
        if "revision" not in kwargs:
            raise RuntimeError("Dataset scripts are no longer supported")
        assert kwargs["revision"] == "refs/convert/parquet"
        part = kwargs["split"]
        assert kwargs["data_files"] == {part: f"comparisons/{part}/*.parquet"}
        return datasets.Dataset.from_list([comparison("w", 1)])

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert len(CONFIG.read("validation")) == 1


@pytest.mark.parametrize("error", [ConnectionError("no route"), ValueError("no config")])
def test_a_hub_out_of_reach_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def load_dataset(*args: Any, **kwargs: Any) -> None:
        raise error

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    for name, hub_id in (
        ("personalllm", "namkoong-lab/PersonalLLM"),
        ("tldr", "openai/summarize_from_feedback"),
        ("prism", "HannahRoseKirk/prism-alignment"),
    ):
        with pytest.raises(DataError, match=f"{hub_id} cannot be read from the hub") as raised:
            load_benchmark(name)
        assert "give the folder as source" in str(raised.value)
        assert str(error) in str(raised.value)


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=r"pip install 'palate\[datasets\]'"):
        load_benchmark("prism")


def test_a_copy_in_files_needs_no_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    write_parquet(tmp_path / "train.parquet", personalllm(6))
    write_jsonl(tmp_path / "test.jsonl", personalllm(6, start=100))
    options = {"users": 2, "training": 3, "seen_evaluation": 2, "reference": 1}
    prepared = load_benchmark(
        "personalllm", source=tmp_path, options=options | {"unseen_evaluation": 1}
    )
    assert prepared.card.counts["comparisons"] == 2 * (3 + 2 + 1 + 1)


def test_an_import_of_the_package_does_not_load_the_library() -> None:
    code = "import sys, palate.data.benchmarks; assert 'datasets' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
