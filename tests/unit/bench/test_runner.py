"""Running: cells that stay, cells that are tried again, one split for all methods."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from palate.bench import code, runner
from palate.errors import BackboneError, CannotRunError, ExperimentError
from palate.files import OutputError
from palate.methods import METHODS, MethodSettings, TrainingSettings
from palate.methods.bt import BT
from tests.toy import contents
from tests.unit.bench.world import QUICK, Bench


@dataclass(frozen=True)
class FragileSettings(TrainingSettings):
    """Settings of a method that can be told to fail."""

    @classmethod
    def search_space(cls) -> dict[str, tuple[Any, ...]]:
        return {"learning_rate": (3e-3, 1e-3), "steps": (10, 5)}


class Fragile(BT):
    """Fails as `fault` says."""

    name = "fragile"
    settings_class: ClassVar[type[MethodSettings]] = FragileSettings
    fault: ClassVar[Exception | None] = None

    def initialise(self, pairs: Any, generator: Any) -> None:
        if self.fault is not None:
            raise self.fault
        super().initialise(pairs, generator)


@pytest.fixture
def fragile(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Fragile]]:
    monkeypatch.setitem(METHODS, "fragile", Fragile)
    yield Fragile
    Fragile.fault = None


def test_a_run_leaves_a_cell_for_each_row_and_seed(ran: Bench) -> None:
    done = [cell for cell in ran.cells().values() if cell["status"] == "done"]
    assert len(done) == 3 * 2 + 2
    for cell in done:
        assert cell["seconds"]["training"] > 0
        assert cell["adaptation_ms"] >= 0
        for part in (cell["seen"], *cell["unseen"].values()):
            sizes = {len(part[name]) for name in ("users", "accuracy", "auc", "log_loss")}
            assert sizes == {len(part["users"])}
            assert len(set(part["users"])) == len(part["users"])


def test_all_methods_share_the_split_of_a_seed_and_seeds_differ(ran: Bench) -> None:
    users = {s: [ran.cell(m, s)["unseen"]["20"]["users"] for m in ("bt", "vrf")] for s in (0, 1)}
    assert users[0][0] == users[0][1]
    assert users[1][0] == users[1][1]
    assert users[0][0] != users[1][0]


def test_a_method_without_uncertainty_reports_none(ran: Bench) -> None:
    assert ran.cell("bt", 0)["uncertainty"] is None
    assert len(ran.cell("vrf", 0)["uncertainty"]["sd"]) > 0


def test_what_cannot_run_here_is_skipped_with_its_reason(ran: Bench) -> None:
    cell = ran.cell("ref", 0)
    assert cell["status"] == "skipped"
    assert "has no likelihood of a text" in cell["reason"]


def test_a_cell_that_is_there_is_not_computed_again(bench: Bench) -> None:
    path = bench.write()
    first = bench.run(path)
    assert (first.counts, first.already) == ({"done": 4, "skipped": 2}, 0)
    before = contents(bench.out / "cells")
    again = bench.run(path)
    assert (again.counts, again.already) == (first.counts, 6)
    assert contents(bench.out / "cells") == before


def test_only_what_changed_is_computed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.run(bench.write())
    computed: list[Any] = []
    compute = runner.compute
    monkeypatch.setattr(
        runner, "compute", lambda work, m: (computed.append(work[1]), compute(work, m))
    )
    rows = {"plain": {"method": "bt", "settings": QUICK}}  # another label is not another cell
    rows |= {"longer": {"method": "bt", "settings": QUICK | {"steps": 13}}}
    bench.run(bench.write("other", rows=rows, title="Other", seeds=[0, 1, 2]))
    assert {(cell.label, cell.seed) for cell in computed} == {
        ("longer", 0), ("longer", 1), ("longer", 2), ("plain", 2),
    }  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [{"split": {"seen": 0.4}}, {"rows": {"bt": {"method": "bt", "share_of_users": 0.5}}}],
    ids=["split", "share"],
)
def test_what_a_cell_depends_on_is_in_its_key(change: dict[str, Any], bench: Bench) -> None:
    rows = {"bt": {"method": "bt", "settings": QUICK}}
    change["rows"] = {"bt": rows["bt"] | change.get("rows", {}).get("bt", {})}
    bench.run(bench.write(rows=rows, seeds=[0]))
    bench.run(bench.write("other", seeds=[0], **change))
    assert len(bench.cells()) == 2


def test_other_comparisons_are_other_cells(bench: Bench) -> None:
    rows = {"bt": {"method": "bt", "settings": QUICK}}
    path = bench.write(rows=rows, seeds=[0])
    bench.run(path)
    lines = (bench.folder / "toy.jsonl").read_text().splitlines(keepends=True)
    (bench.folder / "toy.jsonl").write_text("".join(lines[:-1]))
    assert bench.run(path).already == 0


def test_a_failure_is_kept_and_tried_again(bench: Bench, fragile: type[Fragile]) -> None:
    path = bench.write(rows={"fragile": {"method": "fragile", "settings": QUICK}}, seeds=[0])
    fragile.fault = ZeroDivisionError("no way")
    outcome = bench.run(path)
    assert outcome.failed == {"fragile, seed 0": "ZeroDivisionError: no way"}
    assert "initialise" in bench.cell("fragile", 0)["traceback"]
    fragile.fault = None
    assert bench.run(path).counts == {"done": 1}


def test_one_methods_failure_does_not_end_the_others(bench: Bench, fragile: type[Fragile]) -> None:
    fragile.fault = RuntimeError("broken")
    rows = {"fragile": {"method": "fragile"}, "bt": {"method": "bt", "settings": QUICK}}
    assert bench.run(bench.write(rows=rows)).counts == {"failed": 2, "done": 2}


def test_a_skip_is_no_failure(bench: Bench, fragile: type[Fragile]) -> None:
    fragile.fault = CannotRunError("only on Sundays")
    outcome = bench.run(bench.write(rows={"fragile": {"method": "fragile"}}))
    assert (outcome.skipped, outcome.failed) == ({"fragile": "only on Sundays"}, {})


def test_ctrl_c_leaves_whole_cells_and_the_run_goes_on(
    bench: Bench, fragile: type[Fragile]
) -> None:
    rows = {"bt": {"method": "bt", "settings": QUICK}, "fragile": {"method": "fragile"}}
    rows["fragile"]["settings"] = QUICK
    path = bench.write(rows=rows, seeds=[0])
    fragile.fault = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        bench.run(path)
    assert [cell["status"] for cell in bench.cells().values()] == ["done"]
    fragile.fault = None
    outcome = bench.run(path)
    assert (outcome.counts, outcome.already) == ({"done": 2}, 1)


def test_a_damaged_cell_is_named(bench: Bench) -> None:
    path = bench.write(rows={"bt": {"method": "bt", "settings": QUICK}}, seeds=[0])
    bench.run(path)
    (cell,) = (bench.out / "cells").iterdir()
    cell.write_text("{")
    with pytest.raises(OutputError, match=f"{cell.name} is damaged: delete that file"):
        bench.run(path)


def test_an_absent_backbone_is_skipped_until_it_is_there(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    from palate.bench import material

    resolve = material.resolve_backbone

    def absent(name: str) -> Any:
        raise BackboneError(f"no {name}")

    path = bench.write(rows={"bt": {"method": "bt", "settings": QUICK}}, seeds=[0])
    monkeypatch.setattr(material, "resolve_backbone", absent)
    assert "no " in bench.run(path).skipped["bt"]
    monkeypatch.setattr(material, "resolve_backbone", resolve)
    assert bench.run(path).counts == {"done": 1}


def test_two_processes_compute_the_same(bench: Bench) -> None:
    path = bench.write()
    assert bench.run(path, jobs=2).counts == {"done": 4, "skipped": 2}
    parallel = bench.cells()
    (bench.out).rename(bench.folder / "parallel")
    bench.run(path)
    alone = bench.cells()
    assert list(alone) == list(parallel)
    for name, cell in alone.items():
        for part in ("seen", "unseen", "identity"):
            assert cell.get(part) == parallel[name].get(part)


def test_data_are_looked_for_where_they_are_said_to_be(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from palate.bench.experiment_file import read_experiment
    from palate.bench.material import Place

    choice = read_experiment(bench.write()).data
    assert bench.place.source_of(choice) == str(bench.folder / "toy.jsonl")
    elsewhere = Place(tmp_path / "none", {"toy": str(tmp_path / "t.jsonl")})
    assert elsewhere.source_of(choice) == str(tmp_path / "t.jsonl")
    with pytest.raises(ExperimentError, match="pass --data toy=PATH"):
        Place(tmp_path / "none", {}).source_of(choice)
    monkeypatch.setenv("PALATE_DATA", str(bench.folder))
    assert Place(tmp_path / "none", {}).source_of(choice) == str(bench.folder / "toy.jsonl")


def test_the_code_that_counts_is_the_methods_own_and_what_it_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prints = {name: code.code_fingerprint(method) for name, method in METHODS.items()}
    assert len(set(prints.values())) == len(METHODS)
    meaning = code._meaning

    def changed(path: Path) -> str:
        return meaning(path) + "x" * (path.name == "vrf.py")

    monkeypatch.setattr(code, "_meaning", changed)
    code.code_fingerprint.cache_clear()
    again = {name: code.code_fingerprint(method) for name, method in METHODS.items()}
    code.code_fingerprint.cache_clear()
    assert {name for name in METHODS if prints[name] != again[name]} == {"vrf", "brf"}


def test_docstrings_and_comments_are_no_code(tmp_path: Path) -> None:
    one, other, third = (tmp_path / name for name in ("a.py", "b.py", "c.py"))
    one.write_text('"""A."""\ndef f():\n    """B."""\n    return 1\n')
    other.write_text("def f():  # quick\n    return 1\n")
    third.write_text("def f():\n    return 2\n")
    assert code._meaning(one) == code._meaning(other) != code._meaning(third)


def test_the_index_names_what_a_report_needs(ran: Bench) -> None:
    index = json.loads((ran.out / "toy" / "run.json").read_text())
    assert index["experiment"]["title"] == "Toy"
    assert set(index["rows"]) == {"bt", "ref", "pref", "vrf"}
