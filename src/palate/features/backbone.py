"""A transformers model as a function from (prompt, response) to one hidden state."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from palate.errors import BackboneError
from palate.features.declared import Pooling
from palate.features.spec import LocalBackbone
from palate.types import Message, Text

#: Tokens in one forward pass: they fit into a processor's cache, or fill a GPU.
TOKEN_BUDGET = {"cpu": 2048, "cuda": 65536}
#: Rows are padded to a multiple of it: attention on a processor is up to twice as fast there.
LENGTH_MULTIPLE = 16
#: Such passes in a chunk, which is tokenised together: the step by which progress shows and the
#: cache fills. It is cut by characters, since tokens are not known before; four are about a token.
#: It depends on nothing else, so that the same texts make the same batches whatever the threads.
CHUNK_BATCHES = {"cpu": 32, "cuda": 8}
CHARACTERS_A_TOKEN = 4

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
        processor = "cpu" if self.device == "cpu" else "cuda"
        self.token_budget = TOKEN_BUDGET[processor]
        self.chunk_batches = CHUNK_BATCHES[processor]
        self.workers = torch.get_num_threads() if self.device == "cpu" else 1
        self.tokenizer, self.model = _load(local, self.device)

    def encode(self, texts: Sequence[TextPair]) -> Iterator[EncodedChunk]:
        """Hidden states of prompts with responses, each text once, longest texts first."""
        rendered = [self.render(prompt, response) for prompt, response in texts]
        lengths = np.array([len(text) for text in rendered], dtype=np.int64)
        order = np.argsort(-lengths, kind="stable")
        size = CHARACTERS_A_TOKEN * self.token_budget * self.chunk_batches
        chunk = lengths[order].cumsum() // size
        for places in np.split(order, np.flatnonzero(np.diff(chunk)) + 1) if texts else []:
            ids = self.tokenize([rendered[i] for i in places])
            tokens = np.array([len(row) for row in ids], dtype=np.int64)
            yield EncodedChunk(places, self._encode_ids([self.cut(row) for row in ids]), tokens)

    def render(self, prompt: Text, response: Text) -> str:
        """The string that is read: by the chat template where there is one, else joined."""
        if self._templated:
            return self._render_turns((*_turns(prompt, "user"), *_turns(response, "assistant")))
        end = self.tokenizer.eos_token or "" if self.spec.kind == "causal" else ""
        return f"{_plain(prompt)}\n\n{_plain(response)}{end}"

    def tokenize(self, rendered: Sequence[str]) -> list[list[int]]:
        """Token ids of whole texts, with the model's special tokens."""
        encoded = self.tokenizer(
            list(rendered),
            add_special_tokens=not self._templated,
            truncation=False,
            padding=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )
        ids: list[list[int]] = encoded["input_ids"]
        if not all(ids):
            text = rendered[ids.index([])][:60]
            raise BackboneError(f"backbone {self.spec.name!r} has no token for any of {text!r}")
        return ids

    def cut(self, ids: list[int]) -> list[int]:
        """The last `max_tokens`, so that the response stays; a leading special token stays too."""
        excess = len(ids) - self.spec.max_tokens
        if excess <= 0:
            return ids
        leading = int(ids[0] in self.tokenizer.all_special_ids)
        return ids[:leading] + ids[leading + excess :]

    @property
    def _templated(self) -> bool:
        return self.spec.kind == "causal" and bool(self.tokenizer.chat_template)

    def _render_turns(self, turns: Sequence[Message]) -> str:
        messages = [{"role": turn.role, "content": turn.content} for turn in turns]
        try:
            return str(self.tokenizer.apply_chat_template(messages, tokenize=False))
        except Exception as error:  # a template is a program: whatever it raises, it refuses
            roles = ", ".join(turn.role for turn in turns)
            raise BackboneError(
                f"the chat template of {self.spec.name!r} refuses turns of {roles}: {error}"
            ) from error

    def _encode_ids(self, ids: list[list[int]]) -> NDArray[np.float32]:
        """Hidden states (n, D) of token rows, in batches of like length under the token budget."""
        order = sorted(range(len(ids)), key=lambda i: -len(ids[i]))
        batches: list[list[list[int]]] = []
        start = 0
        while start < len(order):
            size = max(self.token_budget // len(ids[order[start]]), 1)
            batches.append([ids[i] for i in order[start : start + size]])
            start += size
        stacked = torch.cat(self._forward_all(batches)).numpy()
        if not np.isfinite(stacked).all():
            raise BackboneError(
                f"backbone {self.spec.name!r} gives hidden states that are no numbers: its weights "
                f"are damaged, or {self.spec.dtype} is too narrow for them"
            )
        result = np.empty_like(stacked)
        result[order] = stacked
        return result

    def _forward_all(self, batches: list[list[list[int]]]) -> list[Tensor]:
        """On a processor every thread takes whole batches: threads that share one wait at each
        operation for the slowest, several times over where other programs run.
        """
        workers = min(self.workers, len(batches) // 2)
        if workers <= 1:
            return [self._forward(batch) for batch in batches]
        threads = torch.get_num_threads()
        try:
            with ThreadPoolExecutor(workers, "encode", torch.set_num_threads, (1,)) as pool:
                return list(pool.map(self._forward, batches))
        finally:
            torch.set_num_threads(threads)

    @torch.inference_mode()
    def _forward(self, batch: list[list[int]]) -> Tensor:
        ids, mask = pad(batch, most=self.spec.max_tokens)
        ids, mask = ids.to(self.device), mask.to(self.device)
        try:
            hidden = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
        except IndexError as error:
            raise BackboneError(
                f"backbone {self.spec.name!r} has no embedding for a token or a position: "
                "tokenizer and weights do not belong together, or it reads fewer than "
                f"{self.spec.max_tokens} tokens"
            ) from error
        pooled = pool(hidden.float(), mask, self.spec.pooling)
        if self.spec.normalise:
            pooled = torch.nn.functional.normalize(pooled, dim=-1)
        return pooled.cpu()


def pad(batch: Sequence[Sequence[int]], *, most: int) -> tuple[Tensor, Tensor]:
    """Token ids and attention mask, (n, L) each, padded on the right whatever the tokenizer says.

    So positions start at 0 and a causal model never reads padding. The pad id is 0: the mask alone
    tells padding.
    """
    longest = max(len(row) for row in batch)
    width = max(min(-(-longest // LENGTH_MULTIPLE) * LENGTH_MULTIPLE, most), longest)
    ids = torch.zeros(len(batch), width, dtype=torch.long)
    mask = torch.zeros(len(batch), width, dtype=torch.long)
    for i, row in enumerate(batch):
        ids[i, : len(row)] = torch.tensor(row)
        mask[i, : len(row)] = 1
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
    name = local.spec.name
    try:
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging
    except ImportError as error:
        raise BackboneError(
            f"backbone {name!r} needs an extra: pip install 'palate[backbones]'"
        ) from error
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        tokenizer = AutoTokenizer.from_pretrained(local.folder, trust_remote_code=False)
        model, loaded = AutoModel.from_pretrained(
            local.folder,
            dtype=getattr(torch, local.spec.dtype),
            use_safetensors=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    except Exception as error:  # of JSON, safetensors, tokenizers, torch: many kinds, one meaning
        raise BackboneError(f"backbone {name!r} cannot be loaded: {error}") from error
    # transformers draws such weights at random; the pooler is none that we read
    lost = {*loaded["missing_keys"], *(key for key, *_ in loaded["mismatched_keys"])}
    if lost := {key for key in lost if not key.startswith("pooler.")}:
        raise BackboneError(
            f"backbone {name!r} is damaged: its files lack {len(lost)} weights or hold them in "
            f"another size than its config.json says, such as {min(lost)}"
        )
    return tokenizer, model.to(device).eval()


def _turns(text: Text, role: str) -> tuple[Message, ...]:
    return (Message(role, text),) if isinstance(text, str) else text


def _plain(text: Text) -> str:
    if isinstance(text, str):
        return text
    if len(text) == 1:
        return text[0].content
    return "\n\n".join(f"{turn.role}: {turn.content}" for turn in text)
