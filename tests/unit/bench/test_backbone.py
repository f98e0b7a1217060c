from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from palate.bench.experiment_file import read_experiment
from palate.bench.material import Place
from palate.bench.runner import run
from palate.errors import ExperimentError
from tests.unit.finetuning.jobs import FEW_STEPS, TRAINING
from tests.unit.finetuning.world import data, save_model


def experiment(folder: Path, **training: Any) -> Path:
    rows = {
        "frozen": {"method": "pref", "settings": FEW_STEPS},
        "trained": {
            "method": "pref",
            "settings": FEW_STEPS,
            "train_backbone": TRAINING | {"mode": "full", "epochs": 6} | training,
        },
        "none": {"method": "ref", "train_backbone": {"mode": "lora"}},
    }
    save_model(folder / "model")
    content = data()
    texts = content.item_texts()
    lines = [
        {
            "user_id": content.user_ids[user],
            "prompt": texts[chosen][0],
            "chosen": texts[chosen][1],
            "rejected": texts[rejected][1],
        }
        for user, chosen, rejected in zip(
            content.user, content.chosen_item, content.rejected_item, strict=True
        )
    ]
    (folder / "world.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    path = folder / "backbones.yaml"
    about = {"title": "Backbones", "data": {"name": "file", "source": "world.jsonl"}, "seeds": 1}
    path.write_text(json.dumps(about | {"backbone": str(folder / "model"), "rows": rows}))
    return path


def test_a_row_may_train_its_backbone(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    place = Place(tmp_path, {}, tmp_path / "cache")
    path = experiment(tmp_path)
    outcome = run(read_experiment(path), tmp_path / "runs", place)
    assert outcome.counts == {"done": 2, "skipped": 1}
    assert "trains no backbone" in outcome.skipped["none"]
    index = json.loads((tmp_path / "runs" / "backbones" / "run.json").read_text())
    accuracy = {}
    for label in ("frozen", "trained"):
        key = index["rows"][label]["cells"]["0"]
        cell = json.loads((tmp_path / "runs" / "cells" / f"{key}.json").read_text())
        hits = cell["seen"]["accuracy"]
        accuracy[label] = sum(hits) / len(hits)
    assert accuracy["trained"] > accuracy["frozen"] + 0.1
    again = run(read_experiment(path), tmp_path / "runs", place)
    assert again.already == 3


def test_settings_of_a_backbone_are_checked_with_the_file(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match=r"rows\.trained.*epochs is 0"):
        read_experiment(experiment(tmp_path, epochs=0))
