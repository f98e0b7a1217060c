"""Which backbone is meant, what its files say of it, and every way in which it can be unusable."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from palate.errors import BackboneError, SettingsError
from palate.features import resolve_backbone
from palate.features.backbone import Backbone
from palate.features.spec import BackboneSpec, locate_again
from tests.unit.features.conftest import Folder
from tests.unit.features.models import POSITIONS, make_model, make_tokenizer


@pytest.fixture
def copy(folder: Folder, tmp_path: Path) -> Callable[[str], Path]:
    """A copy of a tiny model, to be damaged."""
    return lambda kind: Path(shutil.copytree(folder(kind), tmp_path / "copy"))


def edit(path: Path, **changes: Any) -> None:
    """Change keys of a JSON object; None takes one out."""
    content = json.loads(path.read_text()) if path.exists() else {}
    content |= changes
    path.write_text(json.dumps({key: v for key, v in content.items() if v is not None}))


# -- identity --------------------------------------------------------------------------------------


def test_a_folder_keeps_its_identity_wherever_it_is(folder: Folder, tmp_path: Path) -> None:
    here = resolve_backbone(str(folder("bert")))
    moved = shutil.copytree(folder("bert"), tmp_path / "elsewhere" / "other name")
    (moved / "README.md").write_text("a card decides no hidden state")
    (moved / ".cache").mkdir()
    (moved / ".cache" / "download.json").write_text("{}")
    there = resolve_backbone(str(moved))
    assert there.spec.identity == here.spec.identity
    assert there.spec.fingerprint == here.spec.fingerprint
    assert locate_again(replace(here.spec, name=str(moved))).folder == moved


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_changed_file_is_another_backbone(copy: Callable[[str], Path], file: str) -> None:
    path = copy("bert")
    before = resolve_backbone(str(path)).spec
    content = bytearray((path / file).read_bytes())
    content[-1:] = b" " + content[-1:]
    (path / file).write_bytes(content)
    after = resolve_backbone(str(path)).spec
    assert after.fingerprint != before.fingerprint
    with pytest.raises(
        BackboneError, match=r"has other weights here .* than the model was trained"
    ):
        locate_again(before)


def test_settings_that_change_hidden_states_change_the_fingerprint(folder: Folder) -> None:
    name = str(folder("bert"))
    prints = {
        resolve_backbone(name, dtype="float32", **settings).spec.fingerprint
        for settings in (
            {},
            {"pooling": "cls"},
            {"pooling": "last"},
            {"max_tokens": 32},
            {"max_tokens": 33},
        )
    }
    prints |= {resolve_backbone(name, dtype="bfloat16").spec.fingerprint}
    assert len(prints) == 6
    assert resolve_backbone(name, dtype="float32", pooling="mean").spec.fingerprint in prints


SPEC = BackboneSpec(
    name="minilm",
    identity="53aa",
    kind="causal",
    pooling="mean",
    normalise=True,
    max_tokens=256,
    dtype="float32",
)


def test_fingerprints_are_the_same_on_every_machine_and_in_every_version() -> None:
    encoder = replace(SPEC, kind="encoder")
    assert encoder.fingerprint == "1e674fd9e7f12897116c2d3a20261a21"
    assert replace(encoder, name="other").fingerprint == encoder.fingerprint


def test_likelihoods_have_a_fingerprint_of_their_own_that_knows_of_no_pooling() -> None:
    own = SPEC.likelihood_fingerprint
    for same in ({"name": "other"}, {"pooling": "last"}, {"normalise": False}):
        assert replace(SPEC, **same).likelihood_fingerprint == own  # type: ignore[arg-type]
    changes = ({"identity": "53ab"}, {"max_tokens": 255}, {"dtype": "bfloat16"})
    others = [replace(SPEC, **change) for change in changes]  # type: ignore[arg-type]
    prints = {spec.likelihood_fingerprint for spec in others} | {own}
    prints |= {spec.fingerprint for spec in [*others, SPEC]}
    assert len(prints) == 8


# -- what a model's files say ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "architecture", "expected"),
    [
        ("bert", "BertModel", "encoder"),
        ("bert", "BertForMaskedLM", "encoder"),
        ("bert", None, "encoder"),
        ("llama", "LlamaForCausalLM", "causal"),
        ("llama", "LlamaModel", "causal"),
        ("llama", "LlamaForSequenceClassification", "causal"),
        ("llama", None, "causal"),
        ("llama", "EuroBertForMaskedLM", "encoder"),
        ("bert", "GPT2LMHeadModel", "causal"),
        ("bert", "Gemma3ForConditionalGeneration", "causal"),
    ],
)
def test_kind_and_pooling_follow_the_architecture(
    copy: Callable[[str], Path], kind: str, architecture: str | None, expected: str
) -> None:
    path = copy(kind)
    edit(path / "config.json", architectures=architecture and [architecture])
    spec = resolve_backbone(str(path)).spec
    assert (spec.kind, spec.pooling) == (expected, "last" if expected == "causal" else "mean")
    assert not spec.normalise


@pytest.mark.parametrize(
    ("sentence", "tokenizer", "positions", "expected"),
    [
        (None, None, POSITIONS, POSITIONS),
        (None, 40, POSITIONS, 40),
        (None, 1e30, POSITIONS, POSITIONS),
        (None, 1e30, 32768, 1024),
        (None, 512, 32768, 512),
        (48, 40, POSITIONS, 48),
        (8192, 40, 32768, 8192),
        (128, None, POSITIONS, POSITIONS),
        (None, None, None, 1024),
    ],
)
def test_the_limit_of_tokens_is_what_the_files_allow(
    copy: Callable[[str], Path],
    sentence: int | None,
    tokenizer: float | None,
    positions: int | None,
    expected: int,
) -> None:
    path = copy("bert")
    edit(path / "config.json", max_position_embeddings=positions)
    edit(path / "tokenizer_config.json", model_max_length=tokenizer)
    edit(path / "sentence_bert_config.json", max_seq_length=sentence)
    assert resolve_backbone(str(path)).spec.max_tokens == expected


@pytest.mark.parametrize("max_tokens", [-1, 0, 2, POSITIONS + 1])
def test_a_limit_that_the_model_cannot_have_is_refused(folder: Folder, max_tokens: int) -> None:
    with pytest.raises(
        SettingsError, match=f"max_tokens is {max_tokens};.* reads 3 to {POSITIONS}"
    ):
        resolve_backbone(str(folder("bert")), max_tokens=max_tokens)


def test_roberta_has_no_positions_for_the_padding(tmp_path: Path) -> None:
    from transformers import RobertaConfig, RobertaModel

    config = RobertaConfig(
        vocab_size=64,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=34,
    )
    RobertaModel(config).save_pretrained(tmp_path)
    make_tokenizer("bert").save_pretrained(tmp_path)
    local = resolve_backbone(str(tmp_path), dtype="float32")
    assert local.spec.max_tokens == 32
    (chunk,) = Backbone(local, device="cpu").encode([("fish " * 50, "trout"), ("fish", "trout")])
    assert chunk.tokens.tolist() == [53, 4]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pooling": "average"}, "pooling 'average' .* choose one of .*'mean'"),
        ({"dtype": "float16"}, "dtype is 'float16'; expected one of"),
    ],
)
def test_unknown_settings_are_refused(folder: Folder, settings: Any, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        resolve_backbone(str(folder("bert")), **settings)


# -- what is no backbone ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "",
        "   ",
        "gpt5",
        "./nothing/here",
        "/no/such/folder",
        "~nobody-at-all/model",
        "a/b/c",
        "x" * 5000,
    ],
)
def test_unknown_names_are_refused(name: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BackboneError, match=r"unknown backbone .*expected 'minilm', a folder"):
        resolve_backbone(name)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: (path / "model.safetensors").unlink(), r"holds no \.safetensors weights$"),
        (lambda path: (path / "config.json").unlink(), "holds no config.json: expected a transf"),
        (
            lambda path: (path / "model.safetensors").rename(path / "pytorch_model.bin"),
            "its pickled weights are not read, save them as safetensors",
        ),
        (lambda path: (path / "config.json").write_text("{"), "config.json cannot be read"),
        (lambda path: (path / "config.json").write_text("[]"), "damaged: expected a JSON object"),
        (lambda path: (path / "config.json").write_bytes(b"\xff\xfe"), "cannot be read"),
        (lambda path: (path / "config.json").write_text("[" * 10**5), "cannot be read"),
        (lambda path: (path / "modules.json").write_text("{}"), r"modules.json is damaged"),
        (lambda path: (path / "modules.json").write_text('[{"idx": 0}]'), "is damaged"),
        (lambda path: edit(path / "config.json", is_encoder_decoder=True), "is an encoder-decoder"),
    ],
)
def test_a_folder_that_is_no_model_is_refused(
    copy: Callable[[str], Path], damage: Callable[[Path], Any], message: str
) -> None:
    path = copy("bert")
    damage(path)
    with pytest.raises(BackboneError, match=message):
        resolve_backbone(str(path))


def truncate(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: truncate(path / "model.safetensors", 5),
        lambda path: truncate(path / "model.safetensors", 9000),
        lambda path: (path / "model.safetensors").write_bytes(b"\xff" * 9000),
        lambda path: truncate(path / "tokenizer.json", 200),
        lambda path: (path / "tokenizer.json").unlink(),
        lambda path: edit(path / "config.json", hidden_size=32),
        lambda path: edit(path / "config.json", num_hidden_layers=3),
        lambda path: edit(path / "config.json", model_type="no-such-model"),
        lambda path: edit(path / "config.json", hidden_size="wide"),
    ],
    ids=[
        "no header",
        "half the weights",
        "no safetensors",
        "half a tokenizer",
        "no tokenizer",
        "other shapes",
        "more layers",
        "unknown model",
        "no number",
    ],
)
def test_a_damaged_model_cannot_be_loaded(
    copy: Callable[[str], Path], damage: Callable[[Path], Any]
) -> None:
    path = copy("bert")
    damage(path)
    with pytest.raises(BackboneError, match=r"backbone .*copy' (cannot be loaded|is damaged): \S"):
        Backbone(resolve_backbone(str(path), dtype="float32"), device="cpu")


def test_a_model_that_brings_a_program_is_refused_unasked(
    copy: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = copy("bert")
    edit(
        path / "config.json",
        model_type="theirs",
        auto_map={"AutoConfig": "theirs.Config", "AutoModel": "theirs.Model"},
    )
    (path / "theirs.py").write_text("raise SystemExit('it was run')")
    with pytest.raises(BackboneError, match="cannot be loaded"):
        Backbone(resolve_backbone(str(path), dtype="float32"), device="cpu")
    assert capsys.readouterr().out == "", "a question was asked"


def test_pickled_weights_beside_an_index_are_not_read(copy: Callable[[str], Path]) -> None:
    import torch

    path = copy("bert")
    torch.save(make_model("bert").state_dict(), path / "pytorch_model.bin")
    (path / "model.safetensors").rename(path / "adapter_model.safetensors")
    with pytest.raises(BackboneError, match="cannot be loaded"):
        Backbone(resolve_backbone(str(path), dtype="float32"), device="cpu")


# -- the hub ---------------------------------------------------------------------------------------


COMMIT = "0123456789abcdef0123456789abcdef01234567"
NEWER = "f" * 40


@pytest.fixture
def hub(folder: Folder, tmp_path: Path) -> Path:
    """A hub's cache with two commits of one model, of which the second is the main branch."""
    kept = tmp_path / "hub" / "models--ours--tiny"
    for commit in (COMMIT, NEWER):
        shutil.copytree(folder("bert"), kept / "snapshots" / commit)
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text(NEWER)
    return tmp_path


def ask_hub(home: Path, expression: str, names: list[str], *, offline: bool) -> list[str]:
    """What an expression is of each name, in a process with a hub's cache and no network."""
    program = (
        "import sys\n"
        "from dataclasses import replace\n"
        "from palate.errors import BackboneError\n"
        "from palate.features.spec import BackboneSpec, locate_again, resolve_backbone\n"
        "for name in sys.argv[1:]:\n"
        f"    try: print({expression})\n"
        "    except BackboneError as error: print(str(error).splitlines()[0])\n"
    )
    nobody_listens = {"HF_HOME": str(home), "HF_ENDPOINT": "http://127.0.0.1:9"}
    result = subprocess.run(
        [sys.executable, "-c", program, *names],
        env=os.environ | nobody_listens | {"HF_HUB_OFFLINE": str(int(offline))},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return result.stdout.splitlines()


@pytest.mark.parametrize("offline", [False, True])
def test_a_hub_out_of_reach_is_an_error_at_once_and_what_it_gave_before_is_none(
    hub: Path, offline: bool
) -> None:
    known = ["ours/tiny", "ours/tiny@main"]
    unknown = ["ours/tiny@other", "nobody/nothing", "no spaces/allowed"]
    started = time.perf_counter()
    said = ask_hub(hub, "resolve_backbone(name).spec.identity", known + unknown, offline=offline)
    assert time.perf_counter() - started < 30
    assert said[:2] == [f"ours/tiny@{NEWER}"] * 2
    for name, message in zip(unknown, said[2:], strict=True):
        assert message.startswith(
            f"backbone '{name}' is no folder here, and the hub does not give it: "
        )


def test_a_hub_that_moved_on_still_has_the_weights_of_training(hub: Path) -> None:
    trained = "replace(resolve_backbone(name).spec, name='ours/tiny')"
    said = ask_hub(hub, f"locate_again({trained}).folder", [f"ours/tiny@{COMMIT}"], offline=True)
    assert said == [str(hub / "hub" / "models--ours--tiny" / "snapshots" / COMMIT)]


def test_the_room_is_light_and_finds_a_folder_at_once(folder: Folder) -> None:
    program = (
        "import sys, time\n"
        "import palate.features\n"
        "start = time.perf_counter()\n"
        f"palate.features.resolve_backbone({str(folder('bert'))!r})\n"
        "heavy = {'transformers', 'tokenizers', 'sentence_transformers'} & set(sys.modules)\n"
        "print(heavy or '', time.perf_counter() - start)"
    )
    started = time.perf_counter()
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert float(result.stdout) < 1, result.stdout
    assert time.perf_counter() - started < 30
