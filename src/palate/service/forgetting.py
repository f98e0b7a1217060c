"""Cached features of an erased user's texts."""

from __future__ import annotations

from collections.abc import Collection

from palate.adaptation.reader import Reader
from palate.types import Text


def forget_features(reader: Reader, texts: Collection[tuple[Text, Text]]) -> None:
    """Drop what the model's cache holds of prompts with responses, and of the prompts.

    Whoever else has the same texts has them encoded again. Raises `CacheError`.
    """
    if reader.backbone is not None and texts:
        reader.source().forget(sorted(texts, key=repr))
