from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from palate import PersonalRewardModel
from palate.errors import CannotRunError, ModelError
from palate.features import FeatureSource, resolve_backbone
from tests.unit.finetuning.world import data, save_model

SETTINGS = {"steps": 30, "weight_decay": 2.0}


def model(folder: Path, method: str = "pref", kind: str = "qwen3", **settings: Any) -> Any:
    save_model(folder / "model", kind)
    return PersonalRewardModel.train(
        data(),
        method=method,
        backbone=str(folder / "model"),
        settings={**SETTINGS, **settings},
        cache=folder / "cache",
    )


@pytest.mark.parametrize(
    ("method", "settings"), [("pref", {}), ("bt", {}), ("vrf", {"head": "linear"})]
)
def test_plain_transformers_give_the_basis_rewards(
    tmp_path: Path, method: str, settings: dict[str, Any]
) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    trained = model(tmp_path, method, **settings)
    trained.export(tmp_path / "stock")
    stock = AutoModelForSequenceClassification.from_pretrained(
        tmp_path / "stock", dtype=torch.float32
    ).eval()
    assert type(stock).__name__ == "Qwen3ForSequenceClassification"
    assert stock.config.problem_type == "regression"
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "stock")
    texts = data().item_texts()[:9]
    rendered = [f"{prompt}\n\n{answer}<end>" for prompt, answer in texts]
    with torch.inference_mode():
        scores = stock(**tokenizer(rendered, return_tensors="pt", padding=True)).logits
    exact = FeatureSource(resolve_backbone(str(tmp_path / "model"), dtype="float32"), tmp_path)
    ours = trained.method.basis_rewards(exact.encode(texts).features)
    assert scores.shape == ours.shape
    constant = scores - ours
    spread = float((ours - ours.mean(0)).abs().max())
    assert float((constant - constant.mean(0)).abs().max()) < 1e-4 * spread


def test_bent_bases_and_encoders_cannot_be_exported(tmp_path: Path) -> None:
    with pytest.raises(CannotRunError, match="not linear"):
        model(tmp_path / "one", "vrf", head="residual").export(tmp_path / "stock")
    with pytest.raises(CannotRunError, match="expected a causal model"):
        model(tmp_path / "two", kind="bert").export(tmp_path / "stock")
    assert not (tmp_path / "stock").exists()


def test_the_hubs_names_save_and_load(tmp_path: Path) -> None:
    trained = model(tmp_path)
    trained.save_pretrained(tmp_path / "run")
    trained.save_pretrained(tmp_path / "run")
    loaded = PersonalRewardModel.from_pretrained(tmp_path / "run")
    assert loaded.identity == trained.identity


def test_a_repository_of_the_hub_is_fetched_and_pushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    trained = model(tmp_path)
    kept = tmp_path / "hub"
    asked: list[Any] = []

    class Api:
        def __init__(self, token: str | None = None) -> None:
            asked.append(token)

        def create_repo(self, name: str, **options: Any) -> None:
            asked.append((name, options))

        def upload_folder(self, *, folder_path: Path, repo_id: str) -> str:
            Path(folder_path).rename(kept)
            return f"commit of {repo_id}"

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name, revision: str(kept))
    assert trained.push_to_hub("us/tastes", private=True, token="t") == "commit of us/tastes"
    assert asked == ["t", ("us/tastes", {"private": True, "exist_ok": True})]
    loaded = PersonalRewardModel.from_pretrained("us/tastes", revision="v1")
    assert loaded.identity == trained.identity
    assert json.loads((kept / "config.json").read_text())["method"] == "pref"


def test_what_the_hub_does_not_give_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(ModelError, match="is no folder here, and the hub does not give it"):
        PersonalRewardModel.from_pretrained("us/tastes")
