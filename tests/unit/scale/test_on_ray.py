"""Ray gives what this process gives, byte by byte, whoever is killed meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from palate.errors import DataError, ScaleError
from palate.scale.adapting import adapt_job
from palate.scale.job import Engine, Here, Outcome, run_job
from palate.scale.on_ray import OnRay
from palate.scale.scoring import score_job
from tests import toy
from tests.unit.scale.worlds import Bench, part_bytes, write, write_many

psutil = pytest.importorskip("psutil")
pytestmark = [
    pytest.mark.timeout(150),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray"),  # of its own settings
]

PARTS = 30


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """So many comparisons that a job takes seconds."""
    return write_many(tmp_path_factory.mktemp("many") / "many.parquet", users=30_000, each=10)


@pytest.fixture(scope="module")
def undisturbed(bench: Bench, many: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    adapted(bench, many, out, Here())
    return out


def adapted(bench: Bench, path: Path, out: Path, engine: Engine, parts: int = PARTS) -> Outcome:
    return run_job(adapt_job(bench.run, path, out, bench.features, parts=parts), engine)


@pytest.mark.usefixtures("small_pieces")
def test_the_same_bytes_as_in_this_process(
    bench: Bench, ray: OnRay, out: Path, tmp_path: Path
) -> None:
    adapted(bench, bench.comparisons, out, ray, parts=5)
    adapted(bench, bench.comparisons, tmp_path / "here", Here(), parts=5)
    assert part_bytes(out) == part_bytes(tmp_path / "here")
    given = (bench.run, out, bench.candidates)
    for name, engine in (("a", ray), ("b", Here())):
        run_job(score_job(*given, tmp_path / name, bench.features, parts=7), engine)
    assert part_bytes(tmp_path / "a") == part_bytes(tmp_path / "b")


@pytest.mark.usefixtures("ray")
def test_one_worker_does_everything_too(bench: Bench, out: Path) -> None:
    with OnRay(1) as engine:
        assert adapted(bench, bench.comparisons, out, engine, parts=5).counts["users"] == 40


@dataclass(frozen=True)
class Work:
    """Notes the numbers that were worked on, and by whom."""

    folder: Path

    def __call__(self, number: int) -> None:
        if number == 13:
            raise DataError("number 13 is unlucky; leave it out")
        (self.folder / f"{number}-{os.getpid()}").write_text("")


def test_every_number_is_done_once_elsewhere(ray: OnRay, tmp_path: Path) -> None:
    assert sorted(ray.run(Work(tmp_path), range(12))) == list(range(12))
    done = [path.name.split("-") for path in tmp_path.iterdir()]
    assert sorted(int(number) for number, _ in done) == list(range(12))
    assert str(os.getpid()) not in {process for _, process in done}


def test_numbers_may_be_more_than_blocks(
    ray: OnRay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("palate.scale.on_ray.MOST_BLOCKS", 3)
    assert sorted(ray.run(Work(tmp_path), range(10))) == list(range(10))


@pytest.mark.usefixtures("ray")
def test_a_gpu_is_kept_by_an_actor(tmp_path: Path) -> None:
    engine = OnRay(1, gpus=1.0)
    assert sorted(engine.run(Work(tmp_path), range(6), gpu=True)) == list(range(6))
    assert len({path.name.split("-")[1] for path in tmp_path.iterdir()}) == 1
    with pytest.raises(DataError, match="unlucky"):
        list(engine.run(Work(tmp_path), [13], gpu=True))


def test_what_a_worker_refuses_is_raised_here_as_it_was(ray: OnRay, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^number 13 is unlucky; leave it out$"):
        list(ray.run(Work(tmp_path), [1, 13]))
    assert list(ray.run(Work(tmp_path), [2])) == [2]


def test_a_faulty_row_is_named_from_a_worker(
    bench: Bench, ray: OnRay, out: Path, tmp_path: Path
) -> None:
    rows = toy.rows(users=2, each=24)
    rows[30] |= {"user_id": None}
    with pytest.raises(DataError, match="row 31, field 'user_id': the user id is missing"):
        adapted(bench, write(tmp_path / "a.parquet", rows), out, ray)


@pytest.mark.usefixtures("ray")
def test_workers_that_do_not_fit() -> None:
    with pytest.raises(ScaleError, match=r"400 workers do not fit: .* one has to stay free"):
        OnRay(400).begin()
    with pytest.raises(ScaleError, match=r"with 0\.7 GPUs each do not fit: .* lower --workers or"):
        OnRay(2, gpus=0.7).begin()


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1:1", r"no Ray cluster at 127\.0\.0\.1:1 .*start one with `ray start --head`"),
        ("nowhere.invalid:6379", "no Ray cluster at nowhere"),
        ("here", "expected host:port"),
    ],
)
def test_nobody_at_the_address(address: str, message: str) -> None:
    started = time.monotonic()
    with pytest.raises(ScaleError, match=message):
        OnRay(2, address).begin()
    assert time.monotonic() - started < 30


def workers(root: int) -> list[Any]:
    """Ray's processes at work, of those that came from a process."""
    found = []
    for process in psutil.Process(root).children(recursive=True):
        try:
            command = process.cmdline()
        except psutil.Error:  # it has ended
            continue
        if command and command[0].startswith("ray::MapBatches"):
            found.append(process)
    return found


def one_at_work(root: int, seconds: float = 30) -> Any:
    """A worker, as soon as one is seen at work."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := workers(root):
            return found[0]
    raise AssertionError("no worker is at work")


def parts_within(out: Path, least: int, seconds: float = 60) -> list[Path]:
    """The finished parts, as soon as there are so many."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = sorted(out.glob("part-*.parquet")) if out.is_dir() else []
        if len(found) >= least:
            return found
        time.sleep(0.005)
    raise AssertionError(f"there are not {least} parts in {out}")


def test_a_killed_worker_loses_and_doubles_nothing(
    bench: Bench, ray: OnRay, many: Path, undisturbed: Path, out: Path
) -> None:
    killed: list[int] = []
    left: list[int] = []

    def kill() -> None:
        left.append(PARTS - len(parts_within(out, 2)))
        worker = one_at_work(os.getpid())
        worker.send_signal(signal.SIGKILL)
        killed.append(worker.pid)

    killer = threading.Thread(target=kill)
    killer.start()
    outcome = adapted(bench, many, out, ray)
    killer.join()
    assert len(killed) == 1
    assert left[0] > 0
    assert not psutil.pid_exists(killed[0])
    assert outcome.counts["users"] == 30_000
    assert part_bytes(out) == part_bytes(undisturbed)
    assert not list(out.glob(".w*"))


@pytest.fixture
def driver(bench: Bench, many: Path, out: Path) -> Iterator[subprocess.Popen[str]]:
    """The command in a process and a Ray of its own."""
    words = ["scale", "adapt", bench.run, many, "--out", out, "--features", bench.features]
    command = [sys.executable, "-c", "from palate.cli import main; main()", *map(str, words)]
    options = ["--workers", "2", "--parts", str(PARTS), "--json"]
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


@pytest.mark.slow
def test_a_killed_driver_loses_and_doubles_nothing(
    bench: Bench, many: Path, undisturbed: Path, out: Path, driver: subprocess.Popen[str]
) -> None:
    finished = parts_within(out, 2)
    family = psutil.Process(driver.pid).children(recursive=True)
    driver.send_signal(signal.SIGKILL)
    assert driver.wait() == -signal.SIGKILL
    psutil.wait_procs(family, timeout=60)  # Ray's processes end with their driver
    assert 2 <= len(part_bytes(out)) < PARTS
    before = {path: path.stat().st_mtime_ns for path in finished}
    outcome = adapted(bench, many, out, Here())
    assert outcome.already >= 2
    assert {path: path.stat().st_mtime_ns for path in finished} == before
    assert part_bytes(out) == part_bytes(undisturbed)
    assert sorted(path.name for path in out.iterdir() if path.suffix != ".parquet") == [
        ".lock",
        "manifest.json",
    ]
