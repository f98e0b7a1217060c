from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from palate.errors import ModelError
from palate.finetuning.loop import OutOfMemoryError
from palate.methods.vrf import VRF
from palate.training import DivergedError
from tests.unit.finetuning.jobs import job, weights


def test_training_moves_the_backbone_and_lowers_the_loss(tmp_path: Path) -> None:
    trained = job(tmp_path, epochs=6)
    before = weights(trained)
    for _ in range(6):
        trained.loop.train_epoch()
    after = weights(trained)
    moved = [name for name in before if not np.array_equal(before[name], after[name])]
    assert any(name.startswith("backbone.") for name in moved)
    assert any(name.startswith("method.head") for name in moved)
    losses = trained.loop.losses
    assert np.mean(losses[-3:]) < np.mean(losses[:3]) - 0.1


@pytest.mark.parametrize("mode", ["full", "lora"])
def test_a_resumed_training_ends_in_the_same_bytes(tmp_path: Path, mode: str) -> None:
    whole = job(tmp_path, mode=mode, epochs=3)
    for _ in range(3):
        whole.loop.train_epoch()
    stopped = job(tmp_path, mode=mode, epochs=3, work="stopped", save_every=4)
    stopped.loop.train_epoch()
    update = stopped.loop._update

    def stop_after_two(*args: Any) -> None:
        if stopped.loop.epoch == 1 and stopped.loop.place == 2:
            raise KeyboardInterrupt
        update(*args)

    stopped.loop._update = stop_after_two  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        stopped.loop.train_epoch()
    resumed = job(tmp_path, mode=mode, epochs=3, work="stopped", save_every=4)
    assert (resumed.loop.epoch, resumed.loop.place) == (1, 1)
    while resumed.loop.epoch < 3:
        resumed.loop.train_epoch()
    assert resumed.loop.losses == whole.loop.losses
    expected, found = weights(whole), weights(resumed)
    assert all(np.array_equal(expected[name], found[name]) for name in expected)


def test_a_checkpoint_of_other_settings_is_refused_with_what_differs(tmp_path: Path) -> None:
    trained = job(tmp_path, save_every=1)
    trained.loop.train_epoch()
    with pytest.raises(ModelError, match=r"learning_rate 0\.002 there, 0\.001 now") as caught:
        job(tmp_path, learning_rate=1e-3)
    assert "texts_per_step" not in str(caught.value)
    with pytest.raises(ModelError, match=r"method\.dimensions 8 there, 4 now"):
        job(tmp_path, settings={"dimensions": 4})


@pytest.mark.parametrize("name", ["state.json", "state.safetensors"])
def test_a_damaged_checkpoint_is_refused(tmp_path: Path, name: str) -> None:
    trained = job(tmp_path, save_every=1)
    trained.loop.train_epoch()
    path = trained.loop.checkpoint / name
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(ModelError, match="is damaged"):
        job(tmp_path)


def test_a_loss_that_is_no_number_leaves_its_comparisons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = job(tmp_path)
    monkeypatch.setattr(VRF, "loss", lambda *_: torch.tensor(math.nan, requires_grad=True))
    with pytest.raises(DivergedError, match=r"diverged\.jsonl") as caught:
        trained.loop.train_epoch()
    path = tmp_path / "work" / "diverged.jsonl"
    assert str(path) in str(caught.value)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(rows) == len(trained.loop.steps(0)[0])
    assert set(rows[0]) == {"prompt", "chosen", "rejected"}


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("can't allocate memory: 9 GB")],
)
def test_out_of_memory_says_what_to_lower(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: Any) -> None:
        raise error

    trained = job(tmp_path)
    monkeypatch.setattr(VRF, "loss", fail)
    with pytest.raises(OutOfMemoryError, match=r"tokens_per_batch \(now \d+\).*texts_per_step"):
        trained.loop.train_epoch()


def test_accumulated_steps_move_the_weights_once(tmp_path: Path) -> None:
    trained = job(tmp_path, steps_per_update=2)
    moves: list[float] = []
    move = trained.loop.engine.move
    trained.loop.engine.move = lambda *a: (moves.append(a[0]), move(*a))  # type: ignore[assignment,method-assign]
    trained.loop.train_epoch()
    assert len(moves) == math.ceil(len(trained.loop.losses) / 2)


def test_gradient_checkpointing_changes_nothing(tmp_path: Path) -> None:
    plain, saving = job(tmp_path), job(tmp_path, checkpointing=True, work="saving")
    for trained in (plain, saving):
        trained.loop.train_epoch()
    assert saving.loop.losses == pytest.approx(plain.loop.losses, abs=1e-5)


def test_packed_rows_train_alike(tmp_path: Path) -> None:
    packed, padded = job(tmp_path, packing=True), job(tmp_path, packing=False, work="padded")
    for trained in (packed, padded):
        trained.loop.train_epoch()
    assert packed.loop.losses == pytest.approx(padded.loop.losses, abs=1e-4)


def test_bfloat16_trains(tmp_path: Path) -> None:
    trained = job(tmp_path, precision="bfloat16", epochs=2)
    for _ in range(2):
        trained.loop.train_epoch()
    assert all(math.isfinite(loss) for loss in trained.loop.losses)


def test_dropout_of_the_backbone_is_of_the_seed(tmp_path: Path) -> None:
    losses = []
    for work in ("one", "two"):
        trained = job(tmp_path, kind="bert", dropout=0.2, work=work, epochs=1)
        torch.manual_seed(len(losses))
        trained.loop.train_epoch()
        losses.append(trained.loop.losses)
    assert losses[0] == losses[1]
    without = job(tmp_path, kind="bert", work="three", epochs=1)
    without.loop.train_epoch()
    assert without.loop.losses != losses[0]
