"""Each item once: from the cache where it is there, computed and kept where it is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from palate.features.batches import EncodedChunk
from palate.features.cache import FeatureCache, Vectors
from palate.progress import Advance

#: Chunks of the items at some places.
Compute = Callable[[list[int]], Iterator[EncodedChunk]]


@dataclass(frozen=True)
class Encoded:
    """features (N, D) of N texts; how many were computed now, and how many were cut to length."""

    features: Tensor
    computed: int
    truncated: int

    def __add__(self, other: Encoded) -> Encoded:
        """The same texts as two backbones read them, side by side."""
        features = torch.cat([self.features, other.features], dim=-1)
        return Encoded(features, self.computed + other.computed, self.truncated)


class Lookup:
    """Items by their keys, as far as a cache holds them. `missing`: one place of each other."""

    def __init__(self, cache: FeatureCache, keys: Sequence[bytes]) -> None:
        self.cache = cache
        self.distinct = list(dict.fromkeys(keys))
        number = {key: i for i, key in enumerate(self.distinct)}
        self.rows = np.array([number[key] for key in keys], dtype=np.int64)
        places, self.vectors, counts = cache.read(self.distinct)
        self.tokens = np.zeros(len(self.distinct), dtype=np.int64)
        self.tokens[places] = counts
        self._known = places
        self._missing = np.setdiff1d(np.arange(len(self.distinct)), places)
        place = dict(zip(self.rows.tolist(), range(len(keys)), strict=True))
        self.missing = [place[i] for i in self._missing.tolist()]

    def encode(self, compute: Compute, advance: Advance, *, max_tokens: int) -> Encoded:
        """Compute what is missing, chunk by chunk into the cache; features in the keys' order."""
        table = self._table(self.vectors.shape[1] if len(self._known) else 0)
        for chunk in compute(self.missing) if self.missing else ():
            where = self._missing[chunk.places]
            if table.shape[1] == 0:
                table = self._table(chunk.vectors.shape[1])
            table[where] = chunk.vectors
            self.tokens[where] = chunk.tokens
            kept = [self.distinct[i] for i in where]
            self.cache.write(kept, chunk.vectors, chunk.tokens)
            advance(len(where))
        return Encoded(
            features=torch.from_numpy(table[self.rows]),
            computed=len(self.missing),
            truncated=int((self.tokens > max_tokens).sum()),
        )

    def _table(self, width: int) -> Vectors:
        table = np.empty((len(self.distinct), width), dtype=np.float32)
        if len(self._known):
            table[self._known] = self.vectors
        return table
