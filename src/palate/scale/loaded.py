"""What a worker keeps between parts: the model, and features that it has read."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from palate.errors import ScaleError
from palate.model import PersonalRewardModel
from palate.scale.features import FeatureFolder, FeatureTable


@lru_cache(maxsize=2)
def model_of(run: Path, identity: str) -> PersonalRewardModel:
    """The model in this process; raises `ScaleError` where it is another than begun."""
    model = PersonalRewardModel.load(run)
    if model.identity != identity:
        raise ScaleError(f"the model in {run} is another than the job was begun with")
    return model


@lru_cache(maxsize=2)
def features_of(folder: FeatureFolder) -> FeatureTable:
    """The features in this process, with the parts that it has read."""
    return FeatureTable(folder)
