"""The loop that trains a backbone and a method's own layers together."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from palate.errors import CannotRunError, PalateError
from palate.features.live import LiveBackbone, Tokens
from palate.files import write_atomically
from palate.finetuning.checkpoint import (
    STATE,
    copy_into,
    read_checkpoint,
    restore_optimiser,
    write_checkpoint,
)
from palate.finetuning.engine import Engine
from palate.finetuning.grouping import IntArray, steps_of_epoch
from palate.finetuning.settings import BackboneTraining
from palate.finetuning.steps import arrange, step_of
from palate.methods import Method
from palate.methods.settings import TrainingSettings
from palate.progress import Progress, Silent
from palate.training import DivergedError, learning_rate_share, parameter_groups
from palate.types import PairBatch

#: The loss of validation as the method stands, over a table of hidden states made anew.
Watch = Callable[[Callable[[IntArray], Tensor]], float]


class OutOfMemoryError(PalateError):
    """A step did not fit into memory."""


@dataclass(frozen=True)
class Job:
    """What is trained on what.

    pairs: training comparisons over the frozen backbone's hidden states (N, D) of items, in whose
    order `tokens` are. describe: row number to a comparison's texts, for a report of what failed.
    """

    method: Method
    backbone: LiveBackbone
    pairs: PairBatch
    tokens: Tokens
    training: BackboneTraining
    seed: int
    folder: Path
    describe: Callable[[int], Mapping[str, Any]]
    identity: Mapping[str, Any] = field(default_factory=dict)

    @property
    def keeps_references(self) -> bool:
        """Whether a step needs comparisons that only tell who its users are."""
        return self.method.infers_from != "live"

    @property
    def keeps_frozen(self) -> bool:
        """Whether users are read from the frozen backbone, which then stands beside the live."""
        return self.keeps_references and self.training.references == "frozen"


class Loop:
    """Steps, checks and checkpoints of one training; `run` may be called again after a stop."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.engine = Engine(job.backbone, job.training)
        settings = job.method.settings
        assert isinstance(settings, TrainingSettings)
        groups = parameter_groups(
            job.method, settings, job.pairs.users, job.training.head_learning_rate
        )
        self.heads = torch.optim.AdamW(groups, lr=job.training.head_learning_rate)
        self.heads.zero_grad()  # of the warm start's last step
        self._highest = [group["lr"] for group in self.heads.param_groups]
        self.epoch, self.place = 0, 0
        self.losses: list[float] = []

    # -- what a step is -----------------------------------------------------------------------

    def steps(self, epoch: int) -> list[IntArray]:
        """The epoch's steps, a function of the seed alone."""
        pairs = self.job.pairs
        generator = torch.Generator().manual_seed(_mix(self.job.seed, epoch))
        return steps_of_epoch(
            pairs.chosen, pairs.rejected, self.job.training.texts_per_step, generator
        )

    def loss(self, rows: IntArray, number: int) -> Tensor:
        """The method's loss of a step's comparisons, over live hidden states."""
        job = self.job
        seed = _mix(job.seed, self.epoch, number)
        references = getattr(job.method.settings, "reference_max", 0)
        columns = arrange(
            job.pairs,
            rows,
            references if job.keeps_references else 0,
            np.random.default_rng(seed),
        )
        with torch.random.fork_rng():
            torch.manual_seed(seed + 7919 * self.engine.accelerator.process_index)  # dropout's
            step = step_of(job.pairs, columns, self._encode, frozen=job.keeps_frozen)
            return job.method.loss(step, torch.Generator().manual_seed(seed))

    def _encode(self, items: IntArray, moves: bool) -> Tensor:
        with torch.set_grad_enabled(moves):
            return self.engine.encode(self.job.tokens.take(items.tolist()))

    def encode_still(self, items: IntArray, size: int = 512) -> Tensor:
        """Hidden states (n, D) as they stand, without gradient or dropout."""
        self.job.backbone.eval()
        with torch.no_grad():
            parts = [self._encode(items[i : i + size], False) for i in range(0, len(items), size)]
        self.job.backbone.train()
        return torch.cat(parts)

    # -- training -----------------------------------------------------------------------------

    def train_epoch(self, progress: Progress | None = None) -> None:
        """All comparisons once, from where a checkpoint stopped."""
        job, training = self.job, self.job.training
        steps = self.steps(self.epoch)
        updates = training.epochs * math.ceil(len(steps) / training.steps_per_update)
        done = self.epoch * math.ceil(len(steps) / training.steps_per_update)
        job.method.train()
        job.backbone.train()
        label = f"training the backbone, epoch {self.epoch + 1} of {training.epochs}"
        with (progress or Silent()).track(label, len(steps)) as advance:
            advance(self.place)
            while self.place < len(steps):
                batch = steps[self.place : self.place + training.steps_per_update]
                number = done + self.place // training.steps_per_update
                self._update(batch, number, updates)
                self.place += len(batch)
                advance(len(batch))
                if (number + 1) % training.save_every == 0:
                    self.save()
        self.epoch, self.place = self.epoch + 1, 0

    def _update(self, batch: list[IntArray], number: int, updates: int) -> None:
        try:
            for i, rows in enumerate(batch):
                with self.engine.gathering(last=i == len(batch) - 1):
                    loss = self.loss(rows, self.place + i) / len(batch)
                    self._require_number(loss, rows)
                    self.engine.backward(loss)
                self.losses.append(float(loss.detach()) * len(batch))
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error):
                raise OutOfMemoryError(
                    f"step {number} does not fit into memory: lower tokens_per_batch (now "
                    f"{self.job.backbone.tokens_per_batch}) or texts_per_step (now "
                    f"{self.job.training.texts_per_step}), or set checkpointing"
                ) from error
            raise
        warmup = round(self.job.training.warmup * updates)
        share = learning_rate_share(number, updates, warmup)
        self.engine.move(share, self.job.training.learning_rate)
        for group, highest in zip(self.heads.param_groups, self._highest, strict=True):
            group["lr"] = share * highest
        self.heads.step()
        self.heads.zero_grad()

    def _require_number(self, loss: Tensor, rows: IntArray) -> None:
        if math.isfinite(float(loss.detach())):
            return
        path = self.job.folder / "diverged.jsonl"
        lines = (json.dumps(self.job.describe(int(row)), ensure_ascii=False) for row in rows)
        write_atomically(path, "\n".join(lines) + "\n")
        raise DivergedError(
            f"the loss is {float(loss.detach())} in epoch {self.epoch + 1}, step {self.place}: its "
            f"comparisons are in {path}; look at them, or lower learning_rate"
        )

    # -- checkpoints --------------------------------------------------------------------------

    @property
    def checkpoint(self) -> Path:
        """Where the state is kept."""
        return self.job.folder / "checkpoint"

    def save(self) -> None:
        """Write the state, by the main process; all call it."""
        weights, moments = self.engine.state()
        if not self.engine.is_main:
            return
        tensors = {f"backbone.{n}": t for n, t in weights.items()}
        tensors |= {f"method.{n}": t for n, t in self.job.method.state_dict().items()}
        optimisers = {"moments": moments, "heads": self.heads.state_dict()}
        state = {
            "settings": self._settings(),
            "epoch": self.epoch,
            "place": self.place,
            "losses": self.losses,
        }
        write_checkpoint(self.checkpoint, tensors, optimisers, state)

    def resume(self) -> bool:
        """Go back to the checkpoint where there is one."""
        if not (self.checkpoint / STATE).is_file():
            return False
        tensors, state = read_checkpoint(self.checkpoint, self._settings())
        if self.engine.is_sharded:
            raise CannotRunError(
                f"{self.checkpoint} cannot be gone on from while the weights are sharded: go on "
                "without FSDP, or remove the folder to begin again"
            )
        copy_into(self.engine.state()[0], "backbone", tensors)
        copy_into(self.job.method.state_dict(), "method", tensors)
        restore_optimiser(self.engine.optimiser, "moments", tensors)
        restore_optimiser(self.heads, "heads", tensors)
        self.epoch, self.place = int(state["epoch"]), int(state["place"])
        self.losses = list(state["losses"])
        return True

    def _settings(self) -> dict[str, Any]:
        job = self.job
        training = {k: v for k, v in asdict(job.training).items() if k != "save_every"}
        method = {f"method.{k}": v for k, v in asdict(job.method.settings).items()}
        own = {"method": job.method.name, "seed": job.seed, "backbone": job.backbone.spec.identity}
        content: dict[str, Any] = json.loads(
            json.dumps({**training, **method, **own, **job.identity})
        )
        return content


def _mix(*numbers: int) -> int:
    """One seed from several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 2)
