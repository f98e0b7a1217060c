from __future__ import annotations

import json
from pathlib import Path

import pytest

from palate.finetuning.learn import BackboneJob
from tests.cli.conftest import Palate
from tests.unit.bench.test_backbone import experiment

QUICK = ["--method", "pref", "--set", "steps=30", "--set", "weight_decay=2.0"]
BACKBONE = ["epochs=3", "learning_rate=0.002", "texts_per_step=48", "precision=float32"]


@pytest.fixture
def words(tmp_path: Path) -> list[object]:
    experiment(tmp_path)
    given: list[object] = ["train", tmp_path / "world.jsonl", "--backbone", tmp_path / "model"]
    return [*given, "--cache", tmp_path / "cache", "--out", tmp_path / "run", *QUICK]


def trained(how: str) -> list[object]:
    return ["--train-backbone", how, *(w for s in BACKBONE for w in ("--set-backbone", s))]


@pytest.mark.parametrize("how", ["lora", "full"])
def test_a_backbone_is_trained_and_exported(
    tmp_path: Path, palate: Palate, words: list[object], how: str
) -> None:
    result = palate(*words, *trained(how), "--json")
    assert result.code == 0, result.err
    assert result.json["training"]["backbone"]["mode"] == how
    assert not (tmp_path / "run.work").exists()
    assert (tmp_path / "run" / "backbone" / "model.safetensors").is_file()
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["own_backbone"]
    assert palate("evaluate", tmp_path / "run", "--cache", tmp_path / "cache").code == 0
    exported = palate("export", tmp_path / "run", "--out", tmp_path / "stock", "--json")
    assert exported.code == 0, exported.err
    assert (tmp_path / "stock" / "README.md").is_file()


def test_a_stopped_training_goes_on(
    tmp_path: Path, palate: Palate, words: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    every_step = ["--set-backbone", "save_every=1"]
    with monkeypatch.context() as patch:
        patch.setattr(BackboneJob, "keep", stop)
        assert palate(*words, *trained("full"), *every_step).code == 130
    assert (tmp_path / "run.work" / "2" / "checkpoint").is_dir()
    assert not (tmp_path / "run").exists()
    other = palate(*words, *trained("full"), *every_step, "--set-backbone", "clip=2")
    assert other.code == 2
    assert "clip 1.0 there, 2.0 now" in other.err
    resumed = palate(*words, *trained("full"), *every_step, "--json").json
    whole = palate(*words, *trained("full"), "--overwrite", "--json").json
    assert resumed["identity"] == whole["identity"]
    assert resumed["training"]["backbone"]["epochs_taken"] > 0
    losses = [run["training"]["backbone"]["validation_log_losses"] for run in (resumed, whole)]
    assert losses[0] == losses[1]


def test_settings_of_a_backbone_need_its_training(palate: Palate, words: list[object]) -> None:
    result = palate(*words, "--set-backbone", "epochs=3")
    assert result.code == 2
    assert "--set-backbone needs --train-backbone lora or full" in result.err


@pytest.mark.parametrize(
    ("setting", "message"),
    [("epoch=3", "unknown setting epoch"), ("epochs=0", "backbone setting epochs is 0")],
)
def test_wrong_settings_of_a_backbone_are_named(
    palate: Palate, words: list[object], setting: str, message: str
) -> None:
    result = palate(*words, "--train-backbone", "full", "--set-backbone", setting)
    assert result.code == 2
    assert message in result.err
