from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from palate import PersonalRewardModel
from palate.errors import BackboneError, CannotRunError, SettingsError
from palate.finetuning import BackboneTraining
from palate.methods import METHODS
from tests.unit.finetuning.jobs import FEW_STEPS, TRAINING
from tests.unit.finetuning.world import PROMPTS, data, save_model

#: Methods that a gradient trains, hence a backbone under them, with a setting where it matters.
TRAINED: dict[str, dict[str, Any]] = {
    **{name: {} for name in METHODS if name not in ("ref", "per_user")},
    "pal-B": {"variant": "B"},
}


def train(folder: Path, method: str = "pref", kind: str = "qwen3", **options: Any) -> Any:
    model = folder / f"model-{kind}"
    if not model.exists():
        save_model(model, kind)
    name, _, _ = method.partition("-")
    return PersonalRewardModel.train(
        data(),
        method=name,
        backbone=str(model),
        settings={**FEW_STEPS, **TRAINED.get(method, {})} if name in TRAINED else {},
        cache=folder / "cache",
        work=folder / "work",
        **options,
    )


@pytest.mark.parametrize("method", TRAINED)
def test_every_trained_method_trains_a_backbone(tmp_path: Path, method: str) -> None:
    torch.set_num_threads(1)
    training = BackboneTraining(**TRAINING | {"epochs": 2, "patience": 2})
    model = train(tmp_path, method, train_backbone=training)
    report = model.report["training"]["backbone"]
    assert len(report["validation_log_losses"]) == 3
    assert 0 <= report["epochs_taken"] <= 2
    assert (model.own_backbone is not None) == (report["epochs_taken"] > 0)
    assert model.evaluate(data()).overall > 0


def test_a_trained_backbone_is_far_better_and_travels_with_its_model(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    content = data()
    frozen = train(tmp_path).evaluate(content).overall
    model = train(tmp_path, train_backbone=BackboneTraining(**TRAINING | {"epochs": 8}))
    trained = model.evaluate(content).overall
    assert trained > frozen + 0.15
    model.save(tmp_path / "run")
    assert "trained here" in (tmp_path / "run" / "README.md").read_text()
    moved = tmp_path / "elsewhere" / "run"
    moved.parent.mkdir()
    (tmp_path / "run").rename(moved)
    loaded = PersonalRewardModel.load(moved, cache=tmp_path / "other cache")
    assert loaded.identity == model.identity
    assert loaded.evaluate(content).overall == pytest.approx(trained, abs=1e-9)
    user = loaded.adapt(list(content)[:6])
    assert loaded.rank(PROMPTS[0], ["warm1 warm2", "cold3 cold4"], user).best.p_best > 0
    loaded.save(moved, overwrite=True)
    assert PersonalRewardModel.load(moved).identity == model.identity


def test_users_are_read_from_the_frozen_backbone_beside_the_trained(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    training = BackboneTraining(**TRAINING | {"epochs": 4})
    model = train(tmp_path, "vrf", "bert", train_backbone=training)
    assert model.report["training"]["backbone"]["epochs_taken"] > 0
    assert model.backbone.reference is not None
    model.save(tmp_path / "run")
    loaded = PersonalRewardModel.load(tmp_path / "run", cache=tmp_path / "other cache")
    user = loaded.adapt(list(data())[:6])
    assert loaded.reader.width == 2 * loaded.method.width
    before = model.adapt(list(data())[:6]).posterior.mean
    torch.testing.assert_close(user.posterior.mean, before)


def test_a_changed_backbone_is_refused(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    model = train(tmp_path, train_backbone=BackboneTraining(**TRAINING | {"epochs": 4}))
    model.save(tmp_path / "run")
    path = tmp_path / "run" / "backbone" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"rope_theta": 1.0}))
    loaded = PersonalRewardModel.load(tmp_path / "run", cache=tmp_path / "other cache")
    with pytest.raises(BackboneError, match="other weights"):
        loaded.adapt(list(data())[:3])


@pytest.mark.parametrize("method", ["ref", "per_user"])
def test_a_method_without_training_says_so(tmp_path: Path, method: str) -> None:
    with pytest.raises(CannotRunError, match="trains no backbone"):
        train(tmp_path, method, train_backbone=BackboneTraining(**TRAINING))


def test_features_of_the_callers_own_cannot_be_trained(tmp_path: Path) -> None:
    content = data()
    with pytest.raises(SettingsError, match="needs texts to read"):
        PersonalRewardModel.train(
            content,
            features=torch.zeros(len(content.items), 4),
            train_backbone=BackboneTraining(),
            work=tmp_path,
        )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mode", "half"),
        ("epochs", 0),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("texts_per_step", 1),
        ("warmup", 1.0),
        ("dropout", 1.0),
        ("precision", "float16"),
        ("references", "both"),
    ],
)
def test_settings_out_of_range_are_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(SettingsError, match=f"backbone setting {name} is"):
        BackboneTraining(**{name: value})
