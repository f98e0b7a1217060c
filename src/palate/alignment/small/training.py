"""Trains the small policy: Muon for its matrices, AdamW for the rest, resumable at any time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as tensors_as_bytes
from torch import Tensor, nn
from torch.nn import functional as F

from palate.alignment.small.batches import UNREAD, collate, order, tokenize
from palate.alignment.small.corpus import write_documents
from palate.alignment.small.settings import SmallSettings
from palate.alignment.small.tokenizer import train_tokenizer
from palate.progress import Progress, Silent

#: Threads that it is trained with on any machine: sums depend on how they are divided, and two
#: threads that wait for each other on busy cores are slower than one.
THREADS = 1
#: Steps between two checkpoints, and steps of rising learning rate.
CHECKPOINT, WARM_UP = 50, 40
POSITIONS = 1024
HEAD = 32


def train_small(
    settings: SmallSettings, folder: Path, checkpoint: Path, progress: Progress | None = None
) -> None:
    """Train and save model and tokenizer into a folder; continues from the checkpoint's file."""
    from transformers.utils import logging

    documents = write_documents(settings.documents, settings.seed)
    texts = [text for d in documents for text in (d.system, d.prompt, d.answer) if text]
    tokenizer = train_tokenizer(texts, settings.vocabulary)
    rows = tokenize(tokenizer, documents)
    lengths = torch.tensor([len(row) for row in rows])
    steps = order(lengths, settings.batch, settings.steps, settings.seed)
    model = new_model(settings, tokenizer)
    training = Training(model, settings)
    first = training.restore(checkpoint)
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    with threads(THREADS), (progress or Silent()).track("training the policy", len(steps)) as done:
        done(first)
        for number in range(first, len(steps)):
            batch = collate([rows[i] for i in steps[number].tolist()], tokenizer.pad_token_id)
            training.step(*batch, number)
            if (number + 1) % CHECKPOINT == 0:
                training.keep(checkpoint, number + 1)
            done(1)
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def new_model(settings: SmallSettings, tokenizer: Any) -> Any:  # noqa: ANN401
    """A model of the Qwen3 architecture with weights drawn from the seed."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=settings.hidden,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.hidden // HEAD,
        num_key_value_heads=settings.hidden // HEAD // 2,
        head_dim=HEAD,
        intermediate_size=3 * settings.hidden,
        max_position_embeddings=POSITIONS,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):  # transformers draws weights from the global stream
        torch.manual_seed(settings.seed)
        return Qwen3ForCausalLM(config)


class Training:
    """A model and its optimisers, step by step."""

    def __init__(self, model: Any, settings: SmallSettings) -> None:  # noqa: ANN401
        self.model = model
        self.settings = settings
        embedding = model.get_input_embeddings().weight
        inner = [p for p in model.parameters() if p.ndim == 2 and p is not embedding]
        rest = [p for p in model.parameters() if p.ndim != 2 or p is embedding]
        self.optimisers: list[torch.optim.Optimizer] = [
            torch.optim.Muon(inner, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(rest, weight_decay=0.0, betas=(0.9, 0.95)),
        ]

    def step(self, ids: Tensor, wanted: Tensor, number: int) -> float:
        """One step on token ids and tokens to be predicted (n, L); returns the loss in nats."""
        hidden = self.model.model(input_ids=ids).last_hidden_state
        read = wanted[:, 1:] != UNREAD
        logits = self.model.lm_head(hidden[:, :-1][read])
        loss = F.cross_entropy(logits, wanted[:, 1:][read])
        for optimiser in self.optimisers:
            optimiser.zero_grad()
            for group in optimiser.param_groups:
                group["lr"] = self.rate(number)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimiser in self.optimisers:
            optimiser.step()
        return loss.item()

    def rate(self, number: int) -> float:
        """The learning rate: up in a line, down along a cosine."""
        rising = min(1.0, (number + 1) / WARM_UP)
        falling = 0.5 * (1 + math.cos(math.pi * number / self.settings.steps))
        return self.settings.rate * rising * (falling + 0.003)

    # -- checkpoints --------------------------------------------------------------------------

    def keep(self, path: Path, steps: int) -> None:
        """Replace the checkpoint in one step."""
        tensors = {"steps": torch.tensor(steps)}
        tensors |= {name: p.detach().contiguous() for name, p in self.model.named_parameters()}
        tensors |= {name: value.contiguous() for name, value in self._state()}
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".new")
        temporary.write_bytes(tensors_as_bytes(tensors))
        temporary.replace(path)

    def restore(self, path: Path) -> int:
        """Steps done in the checkpoint, which is taken over; 0 where there is none to read."""
        try:
            tensors = load_file(path)
        except (FileNotFoundError, SafetensorError):
            return 0
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                parameter.copy_(tensors[name])
        for number, optimiser in enumerate(self.optimisers):
            for place, parameter in enumerate(_parameters(optimiser)):
                mark = f"optimiser.{number}.{place}."
                optimiser.state[parameter] = {
                    name.removeprefix(mark): value
                    for name, value in tensors.items()
                    if name.startswith(mark)
                }
        return int(tensors["steps"])

    def _state(self) -> Iterator[tuple[str, Tensor]]:
        for number, optimiser in enumerate(self.optimisers):
            for place, parameter in enumerate(_parameters(optimiser)):
                for name, value in optimiser.state[parameter].items():
                    yield f"optimiser.{number}.{place}.{name}", value


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Compute with so many threads, then with as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _parameters(optimiser: torch.optim.Optimizer) -> list[Tensor]:
    return [parameter for group in optimiser.param_groups for parameter in group["params"]]
