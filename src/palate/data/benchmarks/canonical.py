"""Any file of comparisons in the canonical form as a benchmark."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from palate.data.benchmarks.cards import DataCard
from palate.data.benchmarks.prepared import Benchmark, Prepared, finish
from palate.data.comparisons import PreferenceData
from palate.data.protocols import pref_split
from palate.errors import DataError


@dataclass(frozen=True)
class FileOptions:
    """protocol: "texts" as any data is divided, "pref" PReF's four parts."""

    protocol: Literal["texts", "pref"] = "texts"


def load(source: str | Path | None, seed: int, options: FileOptions) -> Prepared:
    """Read a file of user_id, prompt, chosen and rejected; nothing else is known of it."""
    if source is None:
        raise DataError("the benchmark file needs a source: a Parquet, JSON Lines or CSV file")
    data = PreferenceData.load(source)
    card = DataCard(
        name="file",
        title=f"Comparisons of {Path(source).name}",
        source=str(source),
        licence="unknown",
        citation="unknown",
        prepared="Read as it is.",
        left_out=Counter(problem.message for problem in data.left_out),
    )
    split = pref_split(data, seed) if options.protocol == "pref" else None
    return finish(card, data, split, options)


BENCHMARK = Benchmark("A file of comparisons", FileOptions, load)
