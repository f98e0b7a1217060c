"""Tiny random models with real tokenizers, made on the spot, and the plain way to run them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from palate.features.backbone import Backbone
from palate.features.batches import EncodedChunk
from palate.features.rendering import TextPair

WIDTH = 16
POSITIONS = 64

PAIRS: list[TextPair] = [
    ("why is the sky blue ?", "because the air scatters blue light more than red light ."),
    ("why is the sky blue ?", "it is ."),
    ("name a fish", "trout"),
    ("how do i sleep well ?", "go to bed early , read a book and keep the room cool and dark ."),
    ("how do i sleep well ?", "an unknown zebra"),
]
CHAT_TEMPLATE = (
    "{% for message in messages %}<start>{{ message.role }} {{ message.content }} <end>{% endfor %}"
)
#: One that opens an answer, and leaves out the chain of thought where it is told to, as Qwen's.
OPENING_TEMPLATE = (
    "{% for message in messages %}<start>{{ message.role }} "
    "{% if loop.last and message.role == 'assistant' %}no thought {% endif %}"
    "{{ message.content }} <end>{% endfor %}{% if add_generation_prompt %}<start>assistant "
    "{% if enable_thinking is defined and not enable_thinking %}no thought {% endif %}{% endif %}"
)
#: What tokenizers put around a text; Qwen's puts nothing.
SPECIAL_TOKENS = {"bert": "<start> $A <end>", "llama": "<start> $A"}
#: What distinguishes causal models' padding: none, the end of the text itself, or a token apart.
PADDINGS = [None, "<end>", "<pad>"]


def make_tokenizer(
    kind: str, *, pad: str | None = "<pad>", chat: bool = False, side: str = "right"
) -> Any:
    """A word tokenizer over the words of `PAIRS` and the roles of chats."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    special = ["<start>", "<end>", "<unk>", "<pad>"]
    words = sorted({word for pair in PAIRS[:-1] for text in pair for word in str(text).split()})
    vocabulary = {word: i for i, word in enumerate([*special, "user", "assistant", *words])}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    if kind in SPECIAL_TOKENS:
        tokenizer.post_processor = TemplateProcessing(
            single=SPECIAL_TOKENS[kind], special_tokens=[("<start>", 0), ("<end>", 1)]
        )
    names = {"bos_token": "<start>", "eos_token": "<end>", "unk_token": "<unk>"}
    if pad is not None:
        names["pad_token"] = pad
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=POSITIONS, padding_side=side, **names
    )
    if chat:
        wrapped.chat_template = CHAT_TEMPLATE
    return wrapped


def make_model(kind: str, *, head: bool = True, seed: int = 0) -> Any:
    """A random model of one layer or two: "bert", "qwen3" or "llama"."""
    import transformers

    sizes: dict[str, Any] = {
        "vocab_size": 64,
        "hidden_size": WIDTH,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": POSITIONS,
    }
    torch.manual_seed(seed)
    if kind == "bert":
        return transformers.BertModel(transformers.BertConfig(**sizes))
    sizes |= {"num_key_value_heads": 1, "pad_token_id": None}
    if kind == "qwen3":
        config: Any = transformers.Qwen3Config(**sizes, head_dim=8)
        return (transformers.Qwen3ForCausalLM if head else transformers.Qwen3Model)(config)
    config = transformers.LlamaConfig(**sizes)
    return (transformers.LlamaForCausalLM if head else transformers.LlamaModel)(config)


def save(
    folder: Path,
    kind: str,
    *,
    pad: str | None = "<pad>",
    chat: bool = False,
    side: str = "right",
    seed: int = 0,
) -> Path:
    """A folder with a model and its tokenizer."""
    make_tokenizer(kind, pad=pad, chat=chat, side=side).save_pretrained(folder)
    make_model(kind, seed=seed).save_pretrained(folder)
    return folder


def encode(backbone: Backbone, texts: Sequence[TextPair]) -> np.ndarray[Any, Any]:
    """(n, D) in the order of the texts."""
    return in_order(list(backbone.encode(texts)))


def in_order(chunks: Sequence[EncodedChunk]) -> np.ndarray[Any, Any]:
    """The vectors of all chunks, by their places."""
    count = sum(len(chunk.places) for chunk in chunks)
    result = np.empty((count, chunks[0].vectors.shape[1]), dtype=np.float32)
    for chunk in chunks:
        result[chunk.places] = chunk.vectors
    return result


def log_likelihood(folder: Path, prefix: str, response: str, *, special: str | None) -> float:
    """Mean log-probability of a response's tokens, one forward pass a token, by transformers."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    read = [tokenizer.convert_tokens_to_ids(special)] if special else []
    read += tokenizer(prefix, add_special_tokens=False).input_ids
    own = tokenizer(response, add_special_tokens=False).input_ids
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    total = 0.0
    for token in own:
        with torch.inference_mode():
            logits = model(torch.tensor([read])).logits[0, -1]
        total += float(logits[token] - logits.exp().sum().log())
        read.append(token)
    return total / len(own)


def hidden_states(folder: Path, rendered: str, *, special: bool = True) -> torch.Tensor:
    """(L, D) of one text without padding, with nothing but transformers."""
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(rendered, add_special_tokens=special, return_tensors="pt").input_ids
    with torch.inference_mode():
        states: torch.Tensor = AutoModel.from_pretrained(folder).eval()(ids).last_hidden_state[0]
    return states


def naive_pool(states: torch.Tensor, pooling: str) -> np.ndarray[Any, Any]:
    """Pooling of one unpadded text's states (L, D)."""
    pooled = {"mean": sum(states) / len(states), "cls": states[0], "last": states[-1]}
    return torch.as_tensor(pooled[pooling]).numpy()
