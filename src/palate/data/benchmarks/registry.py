"""The data sets by name: the one list that everything else goes by."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from palate.data.benchmarks.prepared import Benchmark, Prepared
from palate.errors import SettingsError
from palate.settings import build

#: Where each data set's `BENCHMARK` stands; named and not imported, so that a loader is read when
#: it is asked for and none knows another.
BENCHMARKS: dict[str, str] = {
    "personalllm": "palate.data.benchmarks.personalllm",
    "tldr": "palate.data.benchmarks.tldr",
    "prism": "palate.data.benchmarks.prism",
    "prism-roleplay": "palate.data.benchmarks.prism_roleplay",
    "attributes": "palate.data.benchmarks.synthetic",
    "file": "palate.data.benchmarks.canonical",
}


def benchmark(name: str) -> Benchmark:
    """The data set of that name. Raises `SettingsError`."""
    if name not in BENCHMARKS:
        raise SettingsError(f"unknown benchmark {name!r}; expected one of {', '.join(BENCHMARKS)}")
    return cast(Benchmark, import_module(BENCHMARKS[name]).BENCHMARK)


def load_benchmark(
    name: str,
    *,
    source: str | Path | None = None,
    seed: int = 0,
    options: Mapping[str, Any] = {},
) -> Prepared:
    """Comparisons of a public data set, divided as its paper has it, with their card.

    `source` is a copy on disk; None reads the hub (or makes the data, where it is made here).
    The same source, seed and options give the same comparisons and split on any machine. Raises
    `SettingsError` for a name or option that does not exist, `DataError` for what cannot be read.
    """
    chosen = benchmark(name)
    return chosen.load(source, seed, build(chosen.options, options))
