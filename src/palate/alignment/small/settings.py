"""What decides the small policy: the same settings give the same bytes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

#: Bumped when corpus, model or training change: policies kept under the old one then lapse.
VERSION = 1


@dataclass(frozen=True)
class SmallSettings:
    """Size and training of the small policy.

    documents  written to learn from         vocabulary  most tokens of its tokenizer
    hidden     width D, in heads of 32       layers      of the Qwen3 architecture
    steps      of training                   batch       documents a step
    rate       highest learning rate         seed        of corpus, weights and order
    """

    documents: int = 24_000
    vocabulary: int = 6144
    hidden: int = 192
    layers: int = 4
    steps: int = 800
    batch: int = 32
    rate: float = 4e-3
    seed: int = 0

    def __post_init__(self) -> None:
        if self.hidden < 64 or self.hidden % 64:
            raise ValueError(f"hidden is {self.hidden}; expected a multiple of 64")
        if min(self.documents, self.layers, self.steps, self.batch) < 1:
            raise ValueError("documents, layers, steps and batch must be 1 or more")
        if self.vocabulary < 512:  # bytes, special tokens, and some merges
            raise ValueError(f"vocabulary is {self.vocabulary}; expected 512 or more")

    @property
    def key(self) -> str:
        """The address in the cache."""
        content = json.dumps({"version": VERSION, **asdict(self)}, sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:16]
