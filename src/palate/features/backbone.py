"""A transformers model as a function from (prompt, response) to one hidden state."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from palate.errors import BackboneError
from palate.features.spec import LocalBackbone, Pooling
from palate.types import Message, Text

#: Padded tokens in one forward pass: small enough for a processor's cache, large enough for a GPU.
TOKEN_BUDGET = {"cpu": 4096, "cuda": 65536}
#: Texts tokenised at a time, longest first: bounds memory and lets progress show.
CHUNK = 1024

TextPair = tuple[Text, Text]


@dataclass(frozen=True)
class EncodedChunk:
    """Hidden states of some of the texts: their places (n,), vectors (n, D), token counts (n,)."""

    places: NDArray[np.int64]
    vectors: NDArray[np.float32]
    tokens: NDArray[np.int64]


class Backbone:
    """A loaded tokenizer and model. Loading takes seconds: `FeatureSource` loads it when needed."""

    def __init__(self, local: LocalBackbone, device: str | None = None) -> None:
        self.spec = local.spec
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.tokenizer, self.model = _load(local, self.device)

    def encode(self, texts: Sequence[TextPair]) -> Iterator[EncodedChunk]:
        """Hidden states of prompts with responses, each text once, longest texts first."""
        rendered = [self.render(prompt, response) for prompt, response in texts]
        order = np.array(
            sorted(range(len(rendered)), key=lambda i: -len(rendered[i])), dtype=np.int64
        )
        for start in range(0, len(order), CHUNK):
            places = order[start : start + CHUNK]
            ids = self.tokenize([rendered[i] for i in places])
            tokens = np.array([len(row) for row in ids], dtype=np.int64)
            yield EncodedChunk(places, self._encode_ids([self.cut(row) for row in ids]), tokens)

    def render(self, prompt: Text, response: Text) -> str:
        """The string that is read: by the chat template where there is one, else joined."""
        if self.spec.kind == "causal":
            if self.tokenizer.chat_template:
                turns = [*_turns(prompt, "user"), *_turns(response, "assistant")]
                messages = [{"role": turn.role, "content": turn.content} for turn in turns]
                return str(self.tokenizer.apply_chat_template(messages, tokenize=False))
            return f"{_plain(prompt)}\n\n{_plain(response)}{self.tokenizer.eos_token or ''}"
        return f"{_plain(prompt)}\n\n{_plain(response)}"

    def tokenize(self, rendered: Sequence[str]) -> list[list[int]]:
        """Token ids of whole texts, with the model's special tokens."""
        templated = self.spec.kind == "causal" and bool(self.tokenizer.chat_template)
        encoded = self.tokenizer(
            list(rendered),
            add_special_tokens=not templated,
            truncation=False,
            padding=False,
            return_attention_mask=False,
            verbose=False,
        )
        ids: list[list[int]] = encoded["input_ids"]
        return ids

    def cut(self, ids: list[int]) -> list[int]:
        """The last `max_tokens`, so that the response stays; a leading special token stays too."""
        excess = len(ids) - self.spec.max_tokens
        if excess <= 0:
            return ids
        leading = int(ids[0] in self.tokenizer.all_special_ids)
        return ids[:leading] + ids[leading + excess :]

    def _encode_ids(self, ids: list[list[int]]) -> NDArray[np.float32]:
        """Hidden states (n, D) of token rows, in batches of like length under the token budget."""
        order = sorted(range(len(ids)), key=lambda i: -len(ids[i]))
        vectors: list[Tensor] = []
        start = 0
        while start < len(order):
            longest = len(ids[order[start]])
            size = max(TOKEN_BUDGET[self.device.split(":")[0]] // max(longest, 1), 1)
            batch = [ids[i] for i in order[start : start + size]]
            vectors.append(self._forward(batch))
            start += size
        stacked = torch.cat(vectors).numpy()
        result = np.empty_like(stacked)
        result[order] = stacked
        return result

    @torch.inference_mode()
    def _forward(self, batch: list[list[int]]) -> Tensor:
        ids, mask = pad(batch, left=self.tokenizer.padding_side == "left")
        ids, mask = ids.to(self.device), mask.to(self.device)
        extra: dict[str, Tensor] = {}
        if self.spec.kind == "causal":  # a left-padded row's first token stands at position 0
            extra["position_ids"] = (mask.cumsum(-1) - 1).clamp_min(0)
        output = self.model(input_ids=ids, attention_mask=mask, **extra)
        pooled = pool(output.last_hidden_state.float(), mask, self.spec.pooling)
        if self.spec.normalise:
            pooled = torch.nn.functional.normalize(pooled, dim=-1)
        return pooled.cpu()


def pad(batch: Sequence[Sequence[int]], *, left: bool = False) -> tuple[Tensor, Tensor]:
    """Token ids and attention mask, (n, L) each. The pad id is 0: the mask alone tells padding."""
    longest = max(len(row) for row in batch)
    ids = torch.zeros(len(batch), longest, dtype=torch.long)
    mask = torch.zeros(len(batch), longest, dtype=torch.long)
    for i, row in enumerate(batch):
        where = slice(longest - len(row), longest) if left else slice(0, len(row))
        ids[i, where] = torch.tensor(row)
        mask[i, where] = 1
    return ids, mask


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


def _load(local: LocalBackbone, device: str) -> tuple[Any, Any]:
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    try:
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging
    except ImportError as error:
        raise BackboneError(
            f"backbone {local.spec.name!r} needs an extra: pip install 'palate[backbones]'"
        ) from error
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    dtype = getattr(torch, local.spec.dtype)
    try:
        tokenizer = AutoTokenizer.from_pretrained(local.folder)
        model = AutoModel.from_pretrained(local.folder, dtype=dtype, use_safetensors=True)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise BackboneError(f"backbone {local.spec.name!r} cannot be loaded: {error}") from error
    return tokenizer, model.to(device).eval()


def _turns(text: Text, role: str) -> tuple[Message, ...]:
    return (Message(role, text),) if isinstance(text, str) else text


def _plain(text: Text) -> str:
    if isinstance(text, str):
        return text
    if len(text) == 1:
        return text[0].content
    return "\n\n".join(f"{turn.role}: {turn.content}" for turn in text)
