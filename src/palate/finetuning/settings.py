"""How a backbone is trained."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from palate.errors import SettingsError

Mode = Literal["lora", "full"]
Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class BackboneTraining:
    """Settings of a backbone's training, beside those of the method whose loss it follows.

    mode: "lora" trains low-rank additions to every linear layer, "full" every weight.
    epochs: most passes over the comparisons; validation decides how many are taken.
    patience: epochs without a gain on validation before training stops.
    texts_per_step: most distinct texts in a step; all comparisons among them are its loss.
    steps_per_update: such steps whose gradients are added before the weights move.
    tokens_per_batch: most tokens in one forward pass; None takes what suits the device.
    learning_rate: AdamW's for the backbone, at its highest.
    head_learning_rate: AdamW's for the method's own layers, which start trained.
    weight_decay: AdamW's, of the backbone's matrices.
    warmup: share of the updates before the cosine schedule.
    dropout: in the backbone's layers; None leaves them as they are.
    clip: largest norm of the backbone's gradient.
    references: users are inferred from the hidden states of the "frozen" backbone, or from the
    "live" ones without their gradient; for methods that infer users by a network.
    precision: of the backbone's products; None is bfloat16 where the processor computes it.
    checkpointing: compute activations again in the backward pass; slower, with less memory.
    packing: rows that hold a prompt once with several of its answers, for causal models; None
    packs where answers share a prompt's tokens.
    rank, alpha, lora_dropout: of LoRA.
    save_every: updates between checkpoints.
    """

    mode: Mode = "full"
    epochs: int = 10
    patience: int = 2
    texts_per_step: int = 96
    steps_per_update: int = 1
    tokens_per_batch: int | None = None
    learning_rate: float = 5e-5
    head_learning_rate: float = 3e-4
    weight_decay: float = 0.01
    warmup: float = 0.1
    dropout: float | None = 0.0
    clip: float = 1.0
    references: Literal["frozen", "live"] = "frozen"
    precision: Precision | None = None
    checkpointing: bool = False
    packing: bool | None = None
    rank: int = 16
    alpha: float = 32.0
    lora_dropout: float = 0.05
    save_every: int = 100

    def __post_init__(self) -> None:
        for name in ("epochs", "patience", "steps_per_update", "rank", "save_every"):
            self._require(1 <= getattr(self, name) <= 1_000_000, name, "1 to 1,000,000")
        self._require(self.texts_per_step >= 2, "texts_per_step", "2 or more")
        self._require((self.tokens_per_batch or 8) >= 8, "tokens_per_batch", "8 or more")
        for name in ("learning_rate", "clip", "alpha"):
            self._require(getattr(self, name) > 0, name, "greater than 0")
        for name in ("head_learning_rate", "weight_decay"):
            self._require(getattr(self, name) >= 0, name, "0 or more")
        self._require(0 <= self.warmup < 1, "warmup", "0 up to but not 1")
        self._require(0 <= self.lora_dropout < 1, "lora_dropout", "0 up to but not 1")
        self._require(0 <= (self.dropout or 0) < 1, "dropout", "0 up to but not 1")
        self._require(self.mode in get_args(Mode), "mode", "lora or full")
        self._require(self.references in ("frozen", "live"), "references", "frozen or live")
        self._require(
            self.precision in (None, *get_args(Precision)), "precision", "float32 or bfloat16"
        )

    def _require(self, holds: bool, name: str, expected: str) -> None:
        value = getattr(self, name)
        if not holds or (isinstance(value, float) and not math.isfinite(value)):
            raise SettingsError(f"backbone setting {name} is {value!r}; expected {expected}")
