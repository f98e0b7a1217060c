"""Users in two camps, for warm words and for cold ones, and tiny models with real tokenizers.

There are more words than the models have dimensions: before its training one tells few apart.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from palate.data import PreferenceData

WARM = [f"warm{i}" for i in range(20)]
COLD = [f"cold{i}" for i in range(20)]
WORDS = [*WARM, *COLD]
PROMPTS = [f"tell of a {word}" for word in WORDS[:6]]


def response(draw: np.random.Generator) -> list[str]:
    """Four words."""
    return [str(word) for word in draw.choice(WORDS, 4)]


def warmth(words: list[str]) -> int:
    """How many are warm."""
    return sum(word in WARM for word in words)


def data(users: int = 32, each: int = 60, seed: int = 0) -> PreferenceData:
    """Comparisons: one camp prefers the warmer answer, the other the colder."""
    draw = np.random.default_rng(seed)
    texts = {prompt: [response(draw) for _ in range(30)] for prompt in PROMPTS}
    rows: list[dict[str, Any]] = []
    while len(rows) < users * each:
        user = len(rows) // each
        prompt = PROMPTS[int(draw.integers(len(PROMPTS)))]
        one, two = draw.choice(30, size=2, replace=False)
        first, second = texts[prompt][int(one)], texts[prompt][int(two)]
        gain = warmth(first) - warmth(second)
        if gain == 0:
            continue
        if (gain > 0) != (user % 2 == 0):
            first, second = second, first
        texts_of = {"chosen": " ".join(first), "rejected": " ".join(second)}
        rows.append({"user_id": f"user {user}", "prompt": prompt, **texts_of})
    return PreferenceData.load(rows)


def save_model(folder: Path, kind: str = "qwen3", *, seed: int = 0, width: int = 8) -> Path:
    """A random model of two layers that knows the world's words."""
    import transformers
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    words = ["<pad>", "<end>", "<unk>", "tell", "of", "a", *WORDS]
    tokenizer = Tokenizer(WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<end>",
        pad_token="<pad>",
        unk_token="<unk>",
        model_max_length=64,
    ).save_pretrained(folder)
    sizes: dict[str, Any] = {
        "vocab_size": len(words),
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 64,
    }
    torch.manual_seed(seed)
    if kind == "bert":
        model: Any = transformers.BertModel(transformers.BertConfig(**sizes))
    else:
        sizes |= {"num_key_value_heads": 1, "head_dim": 8}
        model = transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**sizes))
    model.save_pretrained(folder)
    return folder
