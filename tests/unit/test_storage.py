"""A saved model is read as it was, or refused with the file that is not."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from palate import PersonalRewardModel, PreferenceData
from palate.errors import ModelError
from palate.files import MARK, OutputError, json_checksum
from palate.storage import CONFIG, METHOD_TENSORS, REPORT, TRAINING_TENSORS, read_model
from tests import toy as world

FILES = [CONFIG, METHOD_TENSORS, TRAINING_TENSORS, REPORT]


@pytest.fixture(scope="module")
def saved(toy_model: PersonalRewardModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("storage") / "run"
    toy_model.save(folder)
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(saved, tmp_path / "run"))


def test_a_model_is_read_as_it_was(
    toy_model: PersonalRewardModel, toy: PreferenceData, saved: Path
) -> None:
    loaded = PersonalRewardModel.load(saved)
    assert loaded.identity == toy_model.identity
    assert loaded.method.settings == toy_model.method.settings
    assert loaded.report == json.loads(json.dumps(toy_model.report))
    features = world.features(toy)
    for model in (loaded, toy_model):
        assert model.is_training_data(toy)
    one, two = (model.reward(None, features[:5]) for model in (loaded, toy_model))
    assert torch.equal(one.mean, two.mean)
    assert torch.equal(one.factor, two.factor)  # type: ignore[arg-type]
    seen, again = toy_model.seen, loaded.seen
    assert torch.equal(seen.user_keys, again.user_keys)
    assert torch.equal(seen.text_keys, again.text_keys)
    assert torch.equal(seen.posterior.mean, again.posterior.mean)


def test_the_same_model_is_the_same_bytes(
    toy_model: PersonalRewardModel, saved: Path, tmp_path: Path
) -> None:
    PersonalRewardModel.load(saved).save(tmp_path / "again")
    for name in (*FILES, "README.md"):
        assert (tmp_path / "again" / name).read_bytes() == (saved / name).read_bytes()


def test_nothing_that_can_run_is_saved(saved: Path) -> None:
    assert sorted(path.name for path in saved.iterdir()) == sorted([*FILES, "README.md"])
    assert MARK in FILES
    for path in saved.iterdir():
        assert path.suffix in (".json", ".safetensors", ".md")


def test_a_method_without_uncertainty_is_saved(toy: PreferenceData, tmp_path: Path) -> None:
    model = PersonalRewardModel.train(
        toy, method="bt", features=world.features(toy), settings={"steps": 2, "weight_decay": 8.0}
    )
    model.save(tmp_path / "run")
    loaded = PersonalRewardModel.load(tmp_path / "run")
    assert loaded.seen.posterior.variance is None
    assert loaded.identity == model.identity


# -- damage ---------------------------------------------------------------------------------------


def refusal(folder: Path) -> str:
    with pytest.raises(ModelError) as error:
        read_model(folder)
    assert str(folder) in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(name: str, folder: Path) -> None:
    (folder / name).unlink()
    message = refusal(folder)
    assert name in message
    assert "train again" in message


@pytest.mark.parametrize("share", [0, 0.3, 0.99])
@pytest.mark.parametrize("name", FILES)
def test_a_truncated_file_is_named(name: str, share: float, folder: Path) -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: int(share * len(content))])
    assert f"{folder / name} is damaged" in refusal(folder)


@pytest.mark.parametrize("name", [METHOD_TENSORS, TRAINING_TENSORS, REPORT])
def test_a_flipped_bit_is_noticed_wherever_it_is(name: str, folder: Path) -> None:
    whole = (folder / name).read_bytes()
    for place in range(0, len(whole), len(whole) // 20):
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        (folder / name).write_bytes(changed)
        assert f"{folder / name} is damaged" in refusal(folder)


def test_every_changed_letter_of_the_configuration_is_noticed(folder: Path) -> None:
    path = folder / CONFIG
    whole = path.read_bytes()
    content = json.loads(whole)
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1
        try:
            same = json.loads(changed) == content
        except ValueError:
            same = False
        if not same:
            path.write_bytes(changed)
            assert refusal(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_folder_in_place_of_a_file_is_named(name: str, folder: Path) -> None:
    (folder / name).unlink()
    (folder / name).mkdir()
    assert str(folder / name) in refusal(folder)


@pytest.mark.parametrize("name", FILES[1:])
def test_a_file_of_another_model_is_noticed(
    name: str, toy: PreferenceData, folder: Path, tmp_path: Path
) -> None:
    other = PersonalRewardModel.train(
        toy, features=world.features(toy), seed=1, settings={"steps": 2, "weight_decay": 8.0}
    )
    other.save(tmp_path / "other")
    shutil.copy(tmp_path / "other" / name, folder / name)
    assert f"{folder / name} is damaged" in refusal(folder)


NO_MODELS: dict[str, bytes | None] = {
    "no configuration": None,
    "a transformers model": b'{"architectures": ["BertModel"], "hidden_size": 384}',
    "a list": b"[]",
    "nothing": b"",
    "text": b"hello",
    "endless": b"[" * 200_000,
    "latin-1": b'{"format": "\xe9"}',
    "a version in words": b'{"format": "1"}',
}


@pytest.mark.parametrize("content", NO_MODELS.values(), ids=NO_MODELS.keys())
def test_a_folder_of_another_kind_is_refused(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / CONFIG).write_bytes(content)
    assert CONFIG in refusal(tmp_path)


@pytest.mark.parametrize("kind", ["file", "nothing"])
def test_what_is_no_folder_is_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "run"
    if kind == "file":
        path.write_text("x")
    assert "expected a folder that `palate train --out` wrote" in refusal(path)


def forge(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the configuration and make its checksum right, as another version might."""
    config = json.loads((folder / CONFIG).read_text())
    del config["checksum"]
    change(config)
    config["checksum"] = json_checksum(config)
    (folder / CONFIG).write_text(json.dumps(config))


OTHER_VERSIONS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "newer format": (
        lambda config: config.update(format=3),
        "has format 3, this version reads up to 2: upgrade palate",
    ),
    "newer format without all else": (
        lambda config: (config.clear(), config.update(format=99)),
        "has format 99, this version reads up to 2: upgrade palate",
    ),
    "unknown method": (
        lambda config: config.update(method="pal2"),
        "unknown method 'pal2'; expected one of ref, bt, per_user,",
    ),
    "unknown setting": (
        lambda config: config["settings"].update(flow=3),
        "unknown setting flow",
    ),
    "setting out of range": (
        lambda config: config["settings"].update(bases=1),
        "setting bases is 1; expected 2 or more",
    ),
    "another width": (lambda config: config.update(width=8), "is damaged"),
    "no width": (lambda config: config.pop("width"), "is damaged: KeyError('width')"),
    "no checksums": (lambda config: config.pop("sha256"), "is damaged: KeyError('sha256')"),
    "checksums of another kind": (lambda config: config.update(sha256=3), "is damaged"),
    "backbone of another kind": (
        lambda config: config.update(backbone={"x": 1}),
        "unknown setting",
    ),
}


@pytest.mark.parametrize(("change", "message"), OTHER_VERSIONS.values(), ids=OTHER_VERSIONS.keys())
def test_a_model_of_another_version_is_refused_with_advice(
    change: Callable[[dict[str, Any]], object], message: str, folder: Path
) -> None:
    forge(folder, change)
    assert message in refusal(folder)


def test_tensors_that_are_none_are_refused_although_their_checksum_is_right(folder: Path) -> None:
    for name in (METHOD_TENSORS, TRAINING_TENSORS, REPORT):
        before = (folder / name).read_bytes(), (folder / CONFIG).read_bytes()
        (folder / name).write_bytes(b"not what it was")
        digest = hashlib.sha256(b"not what it was").hexdigest()
        forge(
            folder, lambda config, name=name, digest=digest: config["sha256"].update({name: digest})
        )
        assert "is damaged" in refusal(folder)
        (folder / name).write_bytes(before[0])
        (folder / CONFIG).write_bytes(before[1])
    assert read_model(folder)


# -- writing --------------------------------------------------------------------------------------


def test_a_model_does_not_replace_another_unasked(
    toy_model: PersonalRewardModel, folder: Path
) -> None:
    before = world.contents(folder)
    with pytest.raises(OutputError, match="exists already"):
        toy_model.save(folder)
    assert world.contents(folder) == before
    toy_model.save(folder, overwrite=True)
    assert world.contents(folder) == before


def test_a_disk_that_is_full_leaves_the_old_model(
    toy_model: PersonalRewardModel, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = world.contents(folder)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OutputError, match="No space left"):
        toy_model.save(folder, overwrite=True)
    assert world.contents(folder) == before
    assert list(folder.parent.iterdir()) == [folder]
