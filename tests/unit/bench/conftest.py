"""An experiment's folder, and one whose experiment has run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.bench.world import Bench, make_bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return make_bench(tmp_path)


@pytest.fixture(scope="session")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Tests read it and never write into it."""
    made = make_bench(tmp_path_factory.mktemp("bench"), groups=True)
    pref = {"method": "pref", "settings": {"steps": 12, "weight_decay": 8.0}}
    vrf = {"method": "vrf", "settings": {"estimation": "gradient", "steps": 12}}
    rows = {"bt": {"method": "bt", "settings": {"steps": 12}}, "ref": {"method": "ref"}}
    rows |= {"pref": pref, "vrf": vrf | {"settings": vrf["settings"] | {"weight_decay": 8.0}}}
    paper = {"reference": "A <paper>, table 1", "rows": {"vrf": {"seen": 62.1, "overall": 61.8}}}
    figures = ["answers", "uncertainty", "adaptation", "spectrum", "coverage"]
    path = made.write(rows=rows, paper=paper, gap="the world is a toy.", figures=figures)
    made.run(path)
    sweep = {"vrf": {**vrf, "over": {"kl": [0.0, 0.1]}}}
    made.run(made.write("sweep", rows=sweep, seeds=[0], axis="KL weight", figures=["axis"]))
    return made
