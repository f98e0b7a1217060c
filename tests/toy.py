"""A small world with planted tastes, and a backbone that knows its texts without any weights."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from palate.data import PreferenceData
from palate.features.cache import FeatureCache, text_key
from palate.features.spec import resolve_backbone
from palate.types import Text

WIDTH = 16
PROMPTS = 12
RESPONSES = 6
#: So few steps that a model is trained in a second.
FEW_STEPS = {"steps": 40, "weight_decay": 8.0}

Row = dict[str, Any]


def hidden_state(prompt: Text, response: Text) -> NDArray[np.float32]:
    """A vector from N(0, I) that the texts alone decide."""
    seed = int.from_bytes(text_key(prompt, response), "little")
    return np.random.default_rng(seed).standard_normal(WIDTH, dtype=np.float32)


def rows(users: int = 12, each: int = 24, seed: int = 0) -> list[Row]:
    """Answers of users in two camps, who prefer the larger product with their own taste."""
    generator = np.random.default_rng(seed)
    camp = np.where(np.arange(users) % 2, 1.0, -1.0)[:, None]
    taste = camp + 0.3 * generator.standard_normal((users, WIDTH))
    made = []
    for user in np.repeat(np.arange(users), each):
        number = generator.integers(PROMPTS)
        one, two = generator.choice(RESPONSES, size=2, replace=False)
        prompt = f"prompt {number}"
        texts = [f"response {i} to {number}" for i in (one, two)]
        rewards = [float(taste[user] @ hidden_state(prompt, text)) for text in texts]
        best = int(np.argmax(rewards))
        row = {"user_id": f"user {user}", "prompt": prompt}
        made.append(row | {"chosen": texts[best], "rejected": texts[1 - best]})
    return made


def features(data: PreferenceData) -> Tensor:
    """(N, WIDTH) of the data's items."""
    return torch.from_numpy(np.stack([hidden_state(*item) for item in data.item_texts()]))


def make_backbone(folder: Path) -> Path:
    """A folder that looks like a backbone; whatever is read with it must be in the cache."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"architectures": ["BertModel"]}))
    (folder / "model.safetensors").write_bytes(b"no weights")
    return folder


def fill_cache(cache: Path, backbone: Path, texts: Iterable[tuple[Text, Text]]) -> None:
    """Put the hidden states of (prompt, response) where the backbone's are looked for."""
    pairs = list(dict.fromkeys(texts))
    store = FeatureCache(cache / "features", resolve_backbone(str(backbone)).spec.fingerprint)
    vectors = np.stack([hidden_state(*pair) for pair in pairs])
    store.write([text_key(*pair) for pair in pairs], vectors, np.full(len(pairs), 4))


def contents(folder: Path) -> dict[str, bytes | None]:
    """All that stands in a folder, hidden files too; None is a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }
