"""A training as tests run it; as a program, one of several processes that write down the losses."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from palate.data.splits import SplitSettings, make_split
from palate.features import FeatureSource, resolve_backbone
from palate.finetuning import BackboneTraining
from palate.finetuning.learn import BackboneJob, Texts
from palate.methods import method_named
from tests.unit.finetuning.world import data, save_model

#: Of every job here: few epochs of small steps, in one precision whatever the machine.
EPOCHS = 3
TRAINING = {"epochs": EPOCHS, "learning_rate": 2e-3, "texts_per_step": 48, "precision": "float32"}
FEW_STEPS = {"steps": 40, "weight_decay": 2.0}


def texts(folder: Path, kind: str = "qwen3") -> Texts:
    """The world with what a tiny model made of it before its training."""
    model = folder / f"model-{kind}"
    if not model.exists():
        save_model(model, kind)
    source = FeatureSource(resolve_backbone(str(model), dtype="float32"), folder / "cache")
    content = data()
    return Texts(content, source.encode(content.item_texts()).features, source)


def job(
    folder: Path,
    *,
    method: str = "vrf",
    kind: str = "qwen3",
    settings: dict[str, Any] | None = None,
    work: str = "work",
    **training: Any,
) -> BackboneJob:
    """A training that is about to begin, or to go on."""
    method_class = method_named(method)
    chosen = method_class.settings_class(**FEW_STEPS, **(settings or {})).by_gradient()
    read = texts(folder, kind)
    return BackboneJob(
        *(method_class, chosen.candidates()[0], read),
        *(make_split(read.data, SplitSettings(seed=0)), BackboneTraining(**TRAINING | training)),
        seed=0,
        folder=folder / work,
    )


def weights(trained: BackboneJob) -> dict[str, np.ndarray[Any, Any]]:
    """All that moves, by name."""
    loop = trained.loop
    parts = {"backbone": loop.job.backbone, "method": loop.job.method}
    return {
        f"{part}.{name}": value.detach().numpy().copy()
        for part, module in parts.items()
        for name, value in module.state_dict().items()
    }


def main(folder: Path) -> None:
    """Train among other processes; the main one writes the losses."""
    torch.set_num_threads(1)
    trained = job(folder, work="several")
    for _ in range(EPOCHS):
        trained.loop.train_epoch()
    if trained.loop.engine.is_main:
        content = {"losses": trained.loop.losses, "processes": trained.loop.engine.processes}
        (folder / "losses.json").write_text(json.dumps(content))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
