from __future__ import annotations

from dataclasses import is_dataclass
from pathlib import Path

import numpy as np
import pytest

from palate.data import SplitSettings, make_split
from palate.data.benchmarks import BENCHMARKS, benchmark, load_benchmark
from palate.errors import DataError, SettingsError
from tests.unit.data.benchmarks.official import write_jsonl

WORLD = {"users": 84, "comparisons": 40, "pairs": 12}


def test_the_names_are_those_of_the_documentation() -> None:
    assert set(BENCHMARKS) == {
        "personalllm",
        "tldr",
        "prism",
        "prism-roleplay",
        "attributes",
        "file",
    }


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_has_a_title_options_and_says_what_they_mean(name: str) -> None:
    one = benchmark(name)
    assert one.title
    assert is_dataclass(one.options)
    one.options()  # every option has a default
    assert one.options.__doc__
    assert one.options.__dataclass_params__.frozen  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", BENCHMARKS)
def test_an_unknown_option_is_refused_before_anything_is_read(name: str) -> None:
    with pytest.raises(SettingsError, match="unknown setting nonsense; expected one of"):
        load_benchmark(name, source="nowhere", options={"nonsense": 1})


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(SettingsError, match="unknown benchmark 'prsm'; expected one of personal"):
        load_benchmark("prsm")


def test_the_attributes_world_is_divided_like_any_data_unless_asked_otherwise() -> None:
    plain = load_benchmark("attributes", options=WORLD)
    assert plain.split is None
    assert len(make_split(plain.data, SplitSettings()).seen) > 0
    four_parts = load_benchmark("attributes", seed=1, options=WORLD | {"protocol": "pref"})
    assert four_parts.split is not None
    assert len(four_parts.split.unseen) == round(0.2 * 84)
    assert four_parts.data.digest == plain.data.digest  # the seed divides, it does not write
    other = load_benchmark("attributes", options=WORLD | {"world": 1})
    assert other.data.digest != plain.data.digest


def test_the_attributes_world_refuses_what_it_cannot_be() -> None:
    with pytest.raises(SettingsError, match="users is 3"):
        load_benchmark("attributes", options={"users": 3})
    with pytest.raises(SettingsError, match="has no source"):
        load_benchmark("attributes", source="world.parquet")


def test_a_file_is_read_as_it_is(tmp_path: Path) -> None:
    rows = [
        {"user_id": f"u{u}", "prompt": f"p{p}", "chosen": f"a{p}", "rejected": f"b{p}"}
        for u in range(10)
        for p in range(10)
    ]
    source = write_jsonl(tmp_path / "mine.jsonl", rows)
    plain = load_benchmark("file", source=source)
    assert plain.split is None
    assert (plain.card.licence, plain.card.hub_id) == ("unknown", None)
    assert plain.card.counts["comparisons"] == 100
    split = load_benchmark("file", source=source, seed=2, options={"protocol": "pref"}).split
    assert split is not None
    assert (len(split.seen), len(np.unique(split.data.prompt[split.evaluation]))) == (8, 2)
    with pytest.raises(DataError, match="needs a source"):
        load_benchmark("file")
