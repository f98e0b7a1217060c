"""One cell computed with a backbone that is trained for it, and forgotten afterwards."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from palate.bench.measure import figures_of
from palate.data.splits import Split
from palate.finetuning import BackboneTraining
from palate.finetuning.learn import Texts, learn_with_backbone
from palate.methods import Method, MethodSettings


def measure_with_backbone(
    method_class: type[Method],
    settings: MethodSettings,
    texts: Texts,
    split: Split,
    training: BackboneTraining,
    *,
    seed: int,
) -> dict[str, Any]:
    """As `measure`, over the hidden states of the backbone that was trained with the method."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        kept = replace(texts, cache=Path(name))
        learned = learn_with_backbone(
            *(method_class, settings, kept, split, training), seed=seed, folder=Path(name)
        )
    seconds = time.perf_counter() - started
    return figures_of(learned.learned, learned.features, split, seconds)
