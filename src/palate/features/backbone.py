"""A transformers model as a function from (prompt, response), or a prompt, to a hidden state."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from palate.errors import BackboneError
from palate.features.batches import Batches, EncodedChunk, pad
from palate.features.declared import Pooling
from palate.features.loading import best_device, load
from palate.features.rendering import Renderer, TextPair
from palate.features.spec import BackboneSpec, LocalBackbone
from palate.types import Text


class Backbone:
    """A loaded tokenizer and model that gives hidden states."""

    def __init__(self, local: LocalBackbone, device: str | None = None) -> None:
        self.spec = local.spec
        self.device = device or best_device()
        self.batches = Batches(self.device)
        tokenizer, self.model = load(local, self.device)
        self.renderer = Renderer(local.spec, tokenizer)

    def encode(self, texts: Sequence[TextPair]) -> Iterator[EncodedChunk]:
        """Hidden states of prompts with responses, each text once, longest texts first."""
        return self._encode([self.renderer.render(*pair) for pair in texts])

    def encode_prompts(self, prompts: Sequence[Text]) -> Iterator[EncodedChunk]:
        """Hidden states of prompts by themselves, each once, longest first."""
        return self._encode([self.renderer.render_prompt(prompt) for prompt in prompts])

    def _encode(self, rendered: list[str]) -> Iterator[EncodedChunk]:
        for places in self.batches.chunks([len(text) for text in rendered]):
            ids = self.renderer.tokenize([rendered[i] for i in places])
            tokens = np.array([len(row) for row in ids], dtype=np.int64)
            cut = [self.renderer.cut(row) for row in ids]
            vectors = self.batches.run(cut, self._forward)
            check_finite(vectors, self.spec, "hidden states")
            yield EncodedChunk(places, vectors.numpy(), tokens)

    @torch.inference_mode()
    def _forward(self, batch: list[list[int]]) -> Tensor:
        ids, mask = pad(batch, most=self.spec.max_tokens)
        ids, mask = ids.to(self.device), mask.to(self.device)
        hidden = hidden_states(self.model, self.spec, ids, mask)
        pooled = pool(hidden.float(), mask, self.spec.pooling)
        if self.spec.normalise:
            pooled = torch.nn.functional.normalize(pooled, dim=-1)
        return pooled.cpu()


def hidden_states(model: Any, spec: BackboneSpec, ids: Tensor, mask: Tensor) -> Tensor:  # noqa: ANN401
    """The last layer's states (n, L, D) of token ids and attention mask (n, L)."""
    try:
        hidden: Tensor = model(input_ids=ids, attention_mask=mask).last_hidden_state
    except IndexError as error:
        raise BackboneError(
            f"backbone {spec.name!r} has no embedding for a token or a position: "
            "tokenizer and weights do not belong together, or it reads fewer than "
            f"{spec.max_tokens} tokens"
        ) from error
    return hidden


def check_finite(values: Tensor, spec: BackboneSpec, what: str) -> None:
    """Refuse what is no number."""
    if not values.isfinite().all():
        raise BackboneError(
            f"backbone {spec.name!r} gives {what} that are no numbers: its weights "
            f"are damaged, or {spec.dtype} is too narrow for them"
        )


def pool(hidden: Tensor, mask: Tensor, pooling: Pooling) -> Tensor:
    """One vector a text (n, D) from hidden states (n, L, D) by the attention mask (n, L).

    By the mask, never by the pad id: where pad = eos, that would drop the end of the text.
    """
    if pooling == "mean":
        weight = mask.to(hidden.dtype)[..., None]
        return (hidden * weight).sum(1) / weight.sum(1)
    rows = torch.arange(len(hidden), device=hidden.device)
    if pooling == "cls":
        return hidden[rows, mask.argmax(-1)]
    last = mask.shape[1] - 1 - mask.flip(-1).argmax(-1)
    return hidden[rows, last]
