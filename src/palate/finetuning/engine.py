"""The backbone and its optimiser on any number of processes, through Accelerate.

Each process encodes a share of a step's distinct texts and gathers the others' hidden states; then
all compute the same loss over all of them. So the loss of a step is that of one process whatever a
method's loss looks like, no text is encoded twice across processes, and shares are even by tokens.
The gradient of the loss by a process's own hidden states reaches its copy of the backbone, and the
copies' gradients add up to the whole. The methods' own layers are small: they stay on the
processor, alike in every process.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from palate.errors import BackboneError
from palate.features.live import LiveBackbone, Tokens
from palate.files import new_folder
from palate.finetuning.settings import BackboneTraining


class Engine:
    """Encodes texts and moves the backbone's weights."""

    def __init__(self, backbone: LiveBackbone, training: BackboneTraining) -> None:
        try:
            from accelerate import Accelerator
        except ImportError as error:
            raise BackboneError(
                "training a backbone needs an extra: pip install 'palate[train]'"
            ) from error
        self.accelerator = Accelerator(cpu=backbone.device.type == "cpu")
        self.backbone = backbone
        self.clip = training.clip
        moving = [p for p in backbone.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in moving if p.ndim >= 2], "weight_decay": training.weight_decay},
            {"params": [p for p in moving if p.ndim < 2], "weight_decay": 0.0},
        ]
        optimiser = torch.optim.AdamW(groups, lr=training.learning_rate)
        self.wrapped: nn.Module
        self.wrapped, self.optimiser = self.accelerator.prepare(backbone, optimiser)

    @property
    def processes(self) -> int:
        """How many encode."""
        return int(self.accelerator.num_processes)

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and shows progress."""
        return bool(self.accelerator.is_main_process)

    def encode(self, tokens: Tokens) -> Tensor:
        """Hidden states (n, D) of all texts on the processor, those of this share live."""
        if self.processes == 1:
            hidden: Tensor = self.wrapped(tokens)
            return hidden.cpu()
        order = sorted(range(len(tokens.ids)), key=lambda i: -len(tokens.ids[i]))
        size = -(-len(order) // self.processes)
        share = order[self.accelerator.process_index :: self.processes]
        own: Tensor = self.wrapped(tokens.take(share or order[:1]))[: len(share)]
        padded = torch.cat([own.detach(), own.new_zeros(size - len(share), own.shape[1])])
        gathered: Tensor = self.accelerator.gather(padded)
        table = gathered.new_zeros(len(order), own.shape[1])
        for process in range(self.processes):
            places = order[process :: self.processes]
            start = process * size
            table[places] = gathered[start : start + len(places)]
        if torch.is_grad_enabled():
            table = table.index_copy(0, torch.tensor(share, device=own.device), self._scaled(own))
        return table.cpu()

    def _scaled(self, own: Tensor) -> Tensor:
        """The same values with so many times the gradient: processes' gradients are averaged."""
        return own * self.processes - own.detach() * (self.processes - 1)

    @contextmanager
    def gathering(self, *, last: bool) -> Iterator[None]:
        """Gradients inside are added up, and shared among processes with the last step's."""
        if last or self.processes == 1:
            yield
        else:
            with self.accelerator.no_sync(self.wrapped):
                yield

    def backward(self, loss: Tensor) -> None:
        """The loss's gradient."""
        loss.backward()  # type: ignore[no-untyped-call]

    def move(self, share: float, highest: float) -> None:
        """One step of the backbone's weights at a share of the highest learning rate."""
        for group in self.optimiser.param_groups:
            group["lr"] = share * highest
        self.accelerator.clip_grad_norm_(self.wrapped.parameters(), self.clip)
        self.optimiser.step()
        self.optimiser.zero_grad()

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The backbone's moving weights and the optimiser's state, whole; all processes call it."""
        moving = {n: p for n, p in self.backbone.named_parameters() if p.requires_grad}
        optimiser = self.optimiser.state_dict()
        kept = {
            number: {key: _whole(value) for key, value in values.items()}
            for number, values in optimiser["state"].items()
        }
        return {n: _whole(p.detach()) for n, p in moving.items()}, {**optimiser, "state": kept}

    @property
    def is_sharded(self) -> bool:
        """Whether each process holds a part of the weights (FSDP)."""
        return any(hasattr(p, "full_tensor") for p in self.backbone.parameters())

    def save(self, folder: Path) -> None:
        """Write the backbone as a transformers folder, by the main process; all call it."""
        weights = self.accelerator.get_state_dict(self.wrapped) if self.is_sharded else None
        if self.is_main:
            with new_folder(folder, overwrite=True, mark="config.json") as temporary:
                self.backbone.save(temporary, weights)
        self.accelerator.wait_for_everyone()


def _whole(tensor: Tensor) -> Tensor:
    """All of a tensor of which this process may hold a part."""
    whole: Tensor = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return whole


def is_main_process() -> bool:
    """Whether this is the process, of those that a launcher started, that writes and shows."""
    return os.environ.get("RANK", "0") == "0"
