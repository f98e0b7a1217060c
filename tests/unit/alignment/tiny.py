"""What is small enough for a test: a policy of one layer, a reward model that reads any text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from palate import PersonalRewardModel, PreferenceData
from palate.alignment.small.settings import SmallSettings
from palate.features.batches import EncodedChunk
from palate.features.encoding import FeatureSource
from palate.features.spec import resolve_backbone
from tests import toy

TINY = SmallSettings(
    documents=60, vocabulary=600, hidden=64, layers=1, steps=6, batch=8, rate=1e-2, seed=1
)


class ToyBackbone:
    """Hidden states that the texts alone decide."""

    def encode(self, texts: Any) -> Iterator[EncodedChunk]:
        vectors = np.stack([toy.hidden_state(*pair) for pair in texts])
        tokens = np.full(len(texts), 4, dtype=np.int64)
        yield EncodedChunk(list(range(len(texts))), vectors, tokens)


def tiny_model(folder: Path) -> PersonalRewardModel:
    """VRF of the toy comparisons that can read any other text too."""
    data = PreferenceData.load(toy.rows())
    trained = PersonalRewardModel.train(data, features=toy.features(data), settings=toy.FEW_STEPS)
    backbone = toy.make_backbone(folder / "backbone")
    source = FeatureSource(resolve_backbone(str(backbone)), folder / "cache")
    source.__dict__["backbone"] = ToyBackbone()
    return PersonalRewardModel(trained.method, source, trained.seen, trained.report)
