"""Texts to features: each text once, from the cache where it is, from the backbone where not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from palate.features.backbone import Backbone, TextPair
from palate.features.cache import FeatureCache, default_cache_folder, text_key
from palate.features.spec import LocalBackbone
from palate.progress import Progress, Silent


@dataclass(frozen=True)
class Encoded:
    """features (N, D) of N texts; how many were computed now, and how many were cut to length."""

    features: Tensor
    computed: int
    truncated: int


class FeatureSource:
    """A backbone behind its cache. The backbone is loaded when a text is not in the cache."""

    def __init__(self, local: LocalBackbone, cache_folder: Path | None = None) -> None:
        self.local = local
        folder = cache_folder or default_cache_folder()
        self.cache = FeatureCache(folder / "features", local.spec.fingerprint)

    @cached_property
    def backbone(self) -> Backbone:
        """The loaded model."""
        return Backbone(self.local)

    def encode(self, texts: Sequence[TextPair], progress: Progress | None = None) -> Encoded:
        """Features of prompts with responses, in their order; equal texts are encoded once."""
        keys = [text_key(prompt, response) for prompt, response in texts]
        distinct = list(dict.fromkeys(keys))
        places, found, counts = self.cache.read(distinct)
        missing = np.setdiff1d(np.arange(len(distinct)), places)
        tokens = np.zeros(len(distinct), dtype=np.int64)
        tokens[places] = counts
        vectors = np.empty((len(distinct), found.shape[1] if len(found) else 0), dtype=np.float32)
        if len(missing):
            text_of = dict(zip(keys, texts, strict=True))
            wanted = [text_of[distinct[i]] for i in missing]
            with (progress or Silent()).track("encoding texts", len(missing)) as advance:
                for chunk in self.backbone.encode(wanted):
                    where = missing[chunk.places]
                    if vectors.shape[1] == 0:
                        vectors = np.empty((len(distinct), chunk.vectors.shape[1]), np.float32)
                    vectors[where] = chunk.vectors
                    tokens[where] = chunk.tokens
                    self.cache.write([distinct[i] for i in where], chunk.vectors, chunk.tokens)
                    advance(len(where))
        if len(places):
            vectors[places] = found
        place = {key: i for i, key in enumerate(distinct)}
        rows = np.array([place[key] for key in keys], dtype=np.int64)
        return Encoded(
            features=torch.from_numpy(vectors[rows]),
            computed=len(missing),
            truncated=int((tokens > self.local.spec.max_tokens).sum()),
        )
