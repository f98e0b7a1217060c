"""The papers' data sets: read, prepared and divided by their protocols, each with a card."""

from palate.data.benchmarks.cards import DataCard
from palate.data.benchmarks.prepared import Benchmark, Prepared
from palate.data.benchmarks.registry import BENCHMARKS, benchmark, load_benchmark

__all__ = ["BENCHMARKS", "Benchmark", "DataCard", "Prepared", "benchmark", "load_benchmark"]
