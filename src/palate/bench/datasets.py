"""The comparisons that an experiment names."""

from __future__ import annotations

from typing import Any

from palate.bench.experiment import DataChoice
from palate.data import PreferenceData
from palate.data.benchmarks import load_benchmark
from palate.data.splits import Split
from palate.errors import SettingsError

#: Data whose comparisons, and whose lack of a split of their own, no seed changes.
SAME_FOR_ALL_SEEDS = ("file", "attributes")


def load_data(
    choice: DataChoice, source: str | None, seed: int
) -> tuple[PreferenceData, Split | None, dict[str, Any]]:
    """The comparisons, the data set's own split if it has one, and its card."""
    if choice.name == "file" and source is None:
        raise SettingsError("data: source is missing, which a file needs")
    try:
        prepared = load_benchmark(choice.name, source=source, seed=seed, options=choice.options)
    except SettingsError as error:
        raise SettingsError(f"data: {error}") from error
    return prepared.data, prepared.split, prepared.card.to_json()


def drawn_by(choice: DataChoice, seed: int) -> int | None:
    """The seed where it decides what is loaded, else None."""
    divided = choice.options.get("protocol", "texts") == "texts"
    return None if choice.name in SAME_FOR_ALL_SEEDS and divided else seed
