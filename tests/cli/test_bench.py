"""`palate bench` and `palate methods` as their users run them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from palate.methods import METHODS
from palate.methods.bt import BT
from tests.cli.conftest import Palate
from tests.unit.bench.world import QUICK, Bench, make_bench

COMMANDS = ["bench", "bench run", "bench tune", "bench report", "methods"]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return make_bench(tmp_path)


def words(bench: Bench, command: str, path: Path, *more: object) -> list[object]:
    cache = [] if command == "report" else ["--cache", bench.folder / "cache"]
    return ["bench", command, path, "--out", bench.out, *cache, *more]


def test_run_then_report(bench: Bench, palate: Palate) -> None:
    path = bench.write()
    ran = palate(*words(bench, "run", path))
    assert ran.code == 0
    assert "cells: 4 done, 2 skipped; 0 were there" in " ".join(ran.out.split())
    assert "skipped: ref: backbone" in ran.err
    reported = palate(*words(bench, "report", path))
    assert reported.code == 0
    for text in ("Toy", "Accuracy, %", "Differences, points", "paired bootstrap"):
        assert text in reported.out
    for name in ("html", "md", "tex", "json"):
        assert (bench.out / "report" / f"report.{name}").is_file()
    again = palate(*words(bench, "run", path))
    assert "6 were there" in again.out


def test_json_and_nothing_else(bench: Bench, palate: Palate) -> None:
    path = bench.write(seeds=[0])
    ran = palate(*words(bench, "run", path, "--json")).json
    assert ran["counts"] == {"done": 2, "skipped": 1}
    reported = palate(*words(bench, "report", path, "--json")).json
    assert reported["toy"]["rows"].keys() == {"bt", "vrf"}
    assert 0 < reported["toy"]["rows"]["vrf"]["overall"]["mean"] < 1


def test_report_of_everything_in_a_folder_of_ones_choice(
    bench: Bench, palate: Palate, tmp_path: Path
) -> None:
    rows = {"bt": {"method": "bt", "settings": QUICK}}
    for name in ("one", "two"):
        palate(*words(bench, "run", bench.write(name, rows=rows, title=f"Table {name}")))
    result = palate("bench", "report", "--out", bench.out, "--to", tmp_path / "there")
    assert result.code == 0
    assert "Table one" in result.out
    page = (tmp_path / "there" / "report.html").read_text()
    assert 'href="#one"' in page
    assert 'id="two"' in page


def test_tune_writes_what_run_then_uses(bench: Bench, palate: Palate) -> None:
    rows = {"bt": {"method": "bt", "settings": {"steps": 8}}, "ref": {"method": "ref"}}
    path = bench.write(rows=rows, seeds=[0])
    result = palate(*words(bench, "tune", path, "--trials", 3))
    assert result.code == 0
    assert "learning_rate" in result.out
    assert "skipped: ref" in result.err
    assert "tuned:" in path.read_text()
    assert palate(*words(bench, "run", path)).code == 0
    used = bench.cell("bt", 0)["identity"]["settings"]
    tuned = palate(*words(bench, "tune", path, "--trials", 3, "--json")).json["chosen"]
    assert used["learning_rate"] == tuned[0]["settings"]["learning_rate"]
    assert tuned[1]["log_loss"] is None


class Broken(BT):
    """Fails in training."""

    name = "broken"

    def initialise(self, pairs: Any, generator: Any) -> None:
        raise RuntimeError("no bases")


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METHODS, "broken", Broken)


def test_a_method_that_fails_is_exit_code_one(bench: Bench, palate: Palate, broken: None) -> None:
    path = bench.write(rows={"broken": {"method": "broken"}}, seeds=[0])
    result = palate(*words(bench, "run", path))
    assert result.code == 1
    assert "failed: broken, seed 0: RuntimeError: no bases" in result.err
    assert "Failed: broken" in palate(*words(bench, "report", path)).out


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["run", "none.yaml"], "there is no experiment none.yaml"),
        (["run", "toy.yaml", "--data", "toy"], "--data 'toy': expected name=path"),
        (["report", "--out", "nowhere"], "no run in nowhere: palate bench run"),
        (["tune", "toy.yaml", "--trials", "0"], "trials"),
        (["run", "toy.yaml", "--jobs", "0"], "jobs"),
    ],
)
def test_bad_input_is_exit_code_two(
    more: list[str], message: str, bench: Bench, palate: Palate, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.write()
    monkeypatch.chdir(bench.folder)
    result = palate("bench", *more)
    assert result.code == 2
    assert message in result.err
    assert "Traceback" not in result.err


def test_data_that_are_elsewhere_are_named(bench: Bench, palate: Palate) -> None:
    path = bench.write(rows={"bt": {"method": "bt", "settings": QUICK}}, seeds=[0])
    moved = bench.folder / "moved.jsonl"
    (bench.folder / "toy.jsonl").rename(moved)
    missing = palate(*words(bench, "run", path))
    assert missing.code == 2
    assert "pass --data toy=PATH" in missing.err
    assert palate(*words(bench, "run", path, "--data", f"toy={moved}")).code == 0


@pytest.mark.parametrize(
    ("missing", "command", "message"),
    [
        ("ruamel.yaml", "run", "experiments need a reader of YAML"),
        ("optuna", "tune", "tuning needs optuna"),
        ("matplotlib", "report", "figures need matplotlib"),
    ],
)
def test_what_has_to_be_installed_is_said(
    missing: str,
    command: str,
    message: str,
    bench: Bench,
    palate: Palate,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = bench.write(rows={"bt": {"method": "bt", "settings": QUICK}}, seeds=[0])
    palate(*words(bench, "run", path))
    monkeypatch.setitem(sys.modules, missing, None)
    result = palate(*words(bench, command, path))
    assert result.code == 2
    assert f"{message}: pip install 'palate[bench]'" in result.err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, palate: Palate) -> None:
    result = palate(*command.split(), "--help")
    assert result.code == 0
    assert command == "bench" or "Example: palate" in result.out


def test_help_of_the_benchmark_is_quick() -> None:
    def seconds() -> float:
        command = [sys.executable, "-c", "from palate.cli import main; main()"]
        started = time.monotonic()
        subprocess.run([*command, "bench", "run", "--help"], check=True, capture_output=True)
        return time.monotonic() - started

    assert min(seconds() for _ in range(3)) < 0.6


def test_methods_lists_every_method(palate: Palate) -> None:
    result = palate("methods")
    assert result.code == 0
    for name in METHODS:
        assert name in result.out
    described = palate("methods", "--json").json
    assert described.keys() == METHODS.keys()
    for one in described.values():
        assert one["paper"]
        assert all(setting["meaning"] for setting in one["settings"])


def test_methods_explains_one(palate: Palate) -> None:
    result = palate("methods", "vrf")
    assert "Settings" in result.out
    assert "beta of (9)" in result.out
    assert palate("methods", "gpt").code == 2


#: The command line, in which every training takes its time.
SLOW = """
import time
from palate import training
draw = training.draw_step
def slow(*values):
    print("under way", flush=True)
    time.sleep(0.3)
    return draw(*values)
training.draw_step = slow
from palate.cli import main
if __name__ == "__main__":
    main()
"""


@pytest.mark.parametrize("jobs", [1, 2])
def test_ctrl_c_is_clean_and_the_run_goes_on(jobs: int, bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(SLOW)  # a file, which other processes can import
    rows = {"bt": {"method": "bt", "settings": QUICK | {"steps": 200}}}
    command = words(bench, "run", bench.write(rows=rows), "--jobs", jobs)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, str(tmp_path / "slow.py"), *map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("under way")  # two may say it at once
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.endswith("interrupted; files are as they were\n")
    assert "Traceback" not in err
    assert not list((bench.out / "cells").glob("*")) or not bench.cells()
    rows["bt"]["settings"] = QUICK
    assert bench.run(bench.write(rows=rows), jobs=1).counts == {"done": 2}
