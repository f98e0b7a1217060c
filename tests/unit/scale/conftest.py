"""A world whose jobs take moments, and one Ray for all tests: its start takes seconds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from palate import PersonalRewardModel, PreferenceData
from palate.scale.on_ray import OnRay
from tests import toy as world
from tests.unit.scale.worlds import Bench, Models, write, write_states


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory, toy_model: PersonalRewardModel) -> Bench:
    folder = tmp_path_factory.mktemp("scale")
    rows = world.rows(users=40, each=24)
    asked = [
        {"user_id": f"user {i % 41}", "prompt": row["prompt"], "response": row["chosen"]}
        for i, row in enumerate(rows)
    ]
    toy_model.save(folder / "run")
    comparisons = write(folder / "comparisons.parquet", rows)
    return Bench(
        comparisons=comparisons,
        candidates=write(folder / "candidates.parquet", asked),
        features=write_states(folder / "features"),
        run=folder / "run",
        model=toy_model,
        data=PreferenceData.load(comparisons),
    )


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory, toy: PreferenceData) -> Models:
    return Models(tmp_path_factory.mktemp("models"), toy)


@pytest.fixture(scope="session")
def ray() -> Iterator[OnRay]:
    """Two workers on a Ray of this machine, which is told of a GPU to try actors with."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    library = pytest.importorskip("ray", reason="the scale extra is not installed")
    quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
    library.init(address="local", num_cpus=3, num_gpus=1, object_store_memory=100 * 2**20, **quiet)
    with OnRay(2) as engine:
        engine.begin()
        yield engine
    library.shutdown()


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several pieces of an input, several batches of a piece, several rounds."""
    monkeypatch.setattr("palate.scale.source.PIECE_ROWS", 300)
    monkeypatch.setattr("palate.scale.source.BATCH_ROWS", 70)
    monkeypatch.setattr("palate.scale.shuffle.ROUND_BYTES", 10_000)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"
