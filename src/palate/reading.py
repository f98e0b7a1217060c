"""What a method reads of the data: hidden states of texts, of prompts, or likelihoods."""

from __future__ import annotations

import torch
from torch import Tensor

from palate.data.comparisons import PreferenceData
from palate.errors import DataError
from palate.features import Encoded, FeatureSource
from palate.methods import Method, MethodSettings
from palate.progress import Progress


def read_texts(
    source: FeatureSource,
    data: PreferenceData,
    method: type[Method],
    settings: MethodSettings,
    progress: Progress | None = None,
) -> Encoded:
    """Features of the data's N items: (N, D), with its P prompts by themselves behind them
    (N + P, D) for a method that reads prompts, or log-likelihoods (N, 1).

    Raises `CannotRunError` where the backbone has no likelihood.
    """
    if method.reads == "likelihood":
        return source.log_likelihoods(data.item_texts(), progress)
    encoded = source.encode(data.item_texts(), progress)
    if not settings.reads_prompts:
        return encoded
    prompts = source.encode_prompts(data.prompts, progress)
    return Encoded(
        features=torch.cat([encoded.features, prompts.features]),
        computed=encoded.computed + prompts.computed,
        truncated=encoded.truncated + prompts.truncated,
    )


def check_table(features: Tensor, data: PreferenceData, settings: MethodSettings) -> None:
    """Raise `DataError` where features given in a backbone's place have another number of rows."""
    expected, words = len(data.items), "a row for each of data.items"
    if settings.reads_prompts:
        expected, words = expected + len(data.prompts), words + " and then of data.prompts"
    if features.ndim != 2 or len(features) != expected:
        raise DataError(f"features are {tuple(features.shape)}; expected ({expected}, D), {words}")
