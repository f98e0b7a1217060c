"""What `palate scale` costs: Ray against none, and memory by the number of users.

Example: python experiments/scaling.py speed --comparisons 1000000
         python experiments/scaling.py costs --backbone minilm
         python experiments/scaling.py model --tokens 300 --share 0.4
         python experiments/scaling.py memory --users 100000 1000000 10000000

Users, comparisons and features are generated and streamed to disk; texts are of a pool, as where
many users rate the same responses. `speed` adapts all users by the same job in this process and on
Ray with one and with two workers, in turns. `memory` runs the command in a process of its own and
adds up what it and all its children take (PSS, so that shared memory counts once), at its highest.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from palate import PersonalRewardModel, PreferenceData
from palate.features.cache import text_key
from palate.scale.adapting import adapt_job
from palate.scale.encoding import encode_job
from palate.scale.features import write_features
from palate.scale.job import Engine, Here, Job, Work, run_job
from palate.scale.on_ray import OnRay
from palate.scale.scoring import score_job

#: Responses to a prompt in the pool, and rows that are generated at once.
RESPONSES = 4
BLOCK = 50_000
FILLER = " and so on, for as long as an answer of a language model tends to be" * 3

#: Backbones with their parameters outside of the embeddings, which a look-up reads, and widths.
BACKBONES = [
    ("all-MiniLM-L6-v2", 10.7e6, 384),
    ("Qwen3-0.6B", 0.44e9, 1024),
    ("Qwen3-8B", 6.95e9, 4096),
]


class World:
    """A pool of texts with hidden states, a model that was trained on them, and anybody's answers.

    texts: how many responses; width: D of their hidden states.
    """

    def __init__(self, folder: Path, texts: int, width: int) -> None:
        self.folder, self.size = folder, texts
        self.prompts = [f"question {i}" for i in range(texts // RESPONSES)]
        self.responses = [f"answer {i}{FILLER}" for i in range(texts)]
        generator = torch.Generator().manual_seed(0)
        self.states = torch.randn(texts, width, generator=generator)
        keys = [text_key(self.prompts[i // RESPONSES], r) for i, r in enumerate(self.responses)]
        table = np.frombuffer(b"".join(keys), dtype=np.uint8).reshape(-1, 16)
        write_features(folder / "features", table, self.states, parts=8)
        self._train()

    def _train(self) -> None:
        rows = next(self.blocks(200, 40, tastes=True))
        data = PreferenceData.load(rows)
        place = {text: i for i, text in enumerate(self.responses)}
        own = [place[str(response)] for _, response in data.item_texts()]
        settings = {"steps": 100, "weight_decay": 8.0}
        model = PersonalRewardModel.train(data, features=self.states[own], settings=settings)
        model.save(self.folder / "run")

    def blocks(self, users: int, each: int, *, tastes: bool = False) -> Iterator[pa.Table]:
        """Comparisons of users, one after the other, block by block."""
        prompts, responses = pa.array(self.prompts), pa.array(self.responses)
        for start in range(0, users * each, BLOCK):
            rows = np.arange(start, min(start + BLOCK, users * each))
            generator = np.random.default_rng(start)
            prompt = generator.integers(len(self.prompts), size=len(rows))
            chosen = RESPONSES * prompt + generator.integers(RESPONSES, size=len(rows))
            step = generator.integers(1, RESPONSES, size=len(rows))
            rejected = RESPONSES * prompt + (chosen + step) % RESPONSES
            if tastes:
                taste = generator.standard_normal((users, self.states.shape[1]))[rows // each]
                reward = [
                    (self.states.numpy()[side] * taste).sum(-1) for side in (chosen, rejected)
                ]
                wrong = reward[0] < reward[1]
                chosen, rejected = np.where(wrong, [rejected, chosen], [chosen, rejected])
            names = pa.array([f"user {user:09}" for user in rows // each])
            columns = {"user_id": names, "prompt": prompts.take(prompt)}
            columns |= {"chosen": responses.take(chosen), "rejected": responses.take(rejected)}
            yield pa.table(columns)

    def write(self, users: int, each: int) -> Path:
        """A Parquet file of all of them, in row groups of a block."""
        path = self.folder / f"comparisons-{users}-{each}.parquet"
        writer = None
        for table in self.blocks(users, each):
            writer = writer or pq.ParquetWriter(path, table.schema)
            writer.write_table(table)
        assert writer is not None
        writer.close()
        return path


def seconds(world: World, comparisons: Path, engine: Engine, out: Path) -> float:
    """Wall-clock time of one adaptation of everybody; the folder is removed."""
    job = adapt_job(world.folder / "run", comparisons, out, world.folder / "features")
    taken = run_job(job, engine).seconds
    shutil.rmtree(out)
    return taken


def speed(options: argparse.Namespace, folder: Path) -> None:
    """Plain, one worker, two workers, in turns."""
    torch.set_num_threads(1)
    world = World(folder, options.texts, options.width)
    users = options.comparisons // options.each
    comparisons = world.write(users, options.each)
    size = comparisons.stat().st_size / 1e6
    print(f"{options.comparisons:,} comparisons of {users:,} users, {size:.0f} MB, "
          f"{options.texts:,} texts of {options.width} numbers")  # fmt: skip
    engines: dict[str, Engine] = {"plain": Here(), "1 worker": OnRay(1), "2 workers": OnRay(2)}
    wall: dict[str, list[float]] = {name: [] for name in engines}
    busy: dict[str, list[float]] = {name: [] for name in engines}
    started = time.monotonic()
    with OnRay(2) as cluster:
        cluster.begin()
        begun = time.monotonic() - started
        seconds(world, world.write(2 * BLOCK, 1), cluster, folder / "out")
        loaded = time.monotonic() - started - begun
        print(f"Ray started in {begun:.1f} s; workers imported, in a first job, in {loaded:.1f} s")
        for _ in range(options.turns):
            for name, engine in engines.items():
                before = processor_seconds()
                wall[name].append(seconds(world, comparisons, engine, folder / "out"))
                busy[name].append(processor_seconds() - before)
            print("; ".join(f"{name} {times[-1]:.1f} s" for name, times in wall.items()),
                  flush=True)  # fmt: skip
    for name, times in wall.items():
        of_plain = [mine / plain for mine, plain in zip(times, wall["plain"], strict=True)]
        share = median(busy[name]) / median(busy["plain"])
        least = min(times) / min(wall["plain"])
        print(f"{name}: best {min(times):.1f} s, {least:.2f} of plain's best; "
              f"{median(times):.1f} s, {median(of_plain):.2f} of plain in the same turn; "
              f"{median(busy[name]):.1f} s of processors, {share:.2f} of plain "
              f"(medians of {options.turns})")  # fmt: skip


def processor_seconds() -> float:
    """What this process and all that came from it have had of processors."""
    ticks = 0
    for pid in descendants(os.getpid()):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


class Watched(Here):
    """This process, which looks at a folder after each step."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.largest = 0

    def run(self, work: Work, numbers: Sequence[int], *, gpu: bool = False) -> Iterator[int]:
        """Do `work` for each number, then look."""
        yield from super().run(work, numbers, gpu=gpu)
        self.largest = max(self.largest, folder_bytes(self.folder / ".work"))


def costs(options: argparse.Namespace, folder: Path) -> None:
    """Processor time and bytes a row, of each command."""
    torch.set_num_threads(1)
    world = World(folder, options.texts, options.width)
    users, rows = options.comparisons // options.each, options.comparisons
    comparisons = world.write(users, options.each)
    run, features = folder / "run", folder / "features"
    of_adapting = adapt_job(run, comparisons, folder / "users", features)
    report("adapt", of_adapting, rows, users, "user")
    asked = folder / "asked.parquet"
    table = pq.read_table(comparisons, columns=["user_id", "prompt", "chosen"])
    pq.write_table(table.rename_columns(["user_id", "prompt", "response"]), asked)
    of_scoring = score_job(run, folder / "users", asked, folder / "rewards", features)
    report("score", of_scoring, rows, rows, "row")
    if options.backbone:
        few = folder / "few.parquet"
        pq.write_table(pq.read_table(asked).slice(0, options.encoded), few)
        job = encode_job(options.backbone, few, folder / "encoded", cache=folder / "cache")
        report("encode", job, options.encoded, options.encoded, "text")


def report(name: str, job: Job, rows: int, made: int, what: str) -> None:
    """Run a job and print what a row takes; `made` of `what` come out."""
    before, engine = processor_seconds(), Watched(job.out)
    outcome = run_job(job, engine)
    busy = processor_seconds() - before
    print(f"{name}: {rows:,} rows: {1e6 * busy / rows:.1f} us of a processor a row; "
          f"{engine.largest / rows:.0f} bytes a row on the way, "
          f"{folder_bytes(job.out) / made:.0f} bytes a {what}; {outcome.counts}",
          flush=True)  # fmt: skip


def memory(options: argparse.Namespace, folder: Path) -> None:
    """The most that the command takes, by the number of users."""
    world = World(folder, options.texts, options.width)
    for users in options.users:
        comparisons = world.write(users, options.each)
        for workers in options.workers:
            out = folder / "out"
            words = ["scale", "adapt", folder / "run", comparisons, "--out", out]
            words += ["--features", folder / "features", "--workers", workers, "--json"]
            peak, most, result = watched([str(word) for word in words])
            print(f"{users:,} users, {workers} workers: at most {peak / 1e6:.0f} MB in all "
                  f"processes, {most / 1e6:.0f} MB in the largest; {result['seconds']:.0f} s, "
                  f"{result['parts']} parts, {folder_bytes(out) / users:.0f} bytes a user",
                  flush=True)  # fmt: skip
            shutil.rmtree(out)
        comparisons.unlink()


def watched(words: list[str]) -> tuple[int, int, dict[str, float]]:
    """Run `palate`; the most bytes of all its processes, of one of them, and what it printed."""
    command = [sys.executable, "-c", "from palate.cli import main; main()", *words]
    peak = largest = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            sizes = [proportional_bytes(pid) for pid in descendants(process.pid)]
            peak, largest = max(peak, sum(sizes)), max([largest, *sizes])
            time.sleep(0.2)
        assert process.stdout is not None
        result: dict[str, float] = json.loads(process.stdout.read())
    return peak, largest, result


def descendants(root: int) -> set[int]:
    """A process and all that came from it."""
    parent: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has ended
            continue
    found = {root}
    while grown := {pid for pid, above in parent.items() if above in found} - found:
        found |= grown
    return found


def proportional_bytes(pid: int) -> int:
    """What a process takes, shared memory by its share (PSS)."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # it has ended
        return 0
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def folder_bytes(folder: Path) -> int:
    """What a job leaves."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def model(options: argparse.Namespace, folder: Path) -> None:
    """Encoding on a GPU by formula: 2 x parameters x tokens over a share of its peak."""
    del folder
    for name, parameters, width in BACKBONES:
        busy = 2 * parameters * options.tokens / (options.share * options.peak)
        print(
            f"{name}: {1e6 * busy:,.0f} s of a GPU a million texts of {options.tokens} tokens "
            f"({1 / busy:,.0f} texts a second), {2 * width + 16:,} bytes a text in bfloat16"
        )


def main() -> None:
    """Parse and run one of them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    of_speed, of_memory = commands.add_parser("speed"), commands.add_parser("memory")
    of_speed.add_argument("--comparisons", type=int, default=1_000_000)
    of_speed.add_argument("--turns", type=int, default=3)
    of_speed.add_argument("--each", type=int, default=10)
    of_speed.add_argument("--width", type=int, default=384)
    of_costs = commands.add_parser("costs")
    of_costs.add_argument("--comparisons", type=int, default=500_000)
    of_costs.add_argument("--each", type=int, default=10)
    of_costs.add_argument("--width", type=int, default=384)
    of_costs.add_argument("--backbone", help="Encode with it too.")
    of_costs.add_argument("--encoded", type=int, default=1000)
    of_memory.add_argument("--users", type=int, nargs="+", default=[100_000, 1_000_000, 10_000_000])
    of_memory.add_argument("--workers", type=int, nargs="+", default=[2])
    of_memory.add_argument("--each", type=int, default=1)
    of_memory.add_argument("--width", type=int, default=32)
    of_model = commands.add_parser("model")
    of_model.add_argument("--tokens", type=int, default=300)
    of_model.add_argument("--peak", type=float, default=989e12, help="FLOP/s")
    of_model.add_argument("--share", type=float, default=0.4, help="Of the peak.")
    for command in (of_speed, of_costs, of_memory):
        command.add_argument("--texts", type=int, default=20_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="palate-scaling-") as folder:
        jobs = {"model": model, "speed": speed, "costs": costs, "memory": memory}
        jobs[options.command](options, Path(folder))


if __name__ == "__main__":
    main()
