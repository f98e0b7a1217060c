"""Running an experiment: cells that are there stay, the others are computed, here or in workers."""

from __future__ import annotations

import json
import multiprocessing
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch

from palate.bench.cells import ABSENT, Cell, CellStore, Content, cells_of
from palate.bench.experiment import Experiment
from palate.bench.material import Materials, Place, with_less
from palate.bench.measure import measure
from palate.bench.measure_backbone import measure_with_backbone
from palate.errors import BackboneError, CannotRunError
from palate.files import write_atomically
from palate.finetuning import BackboneTraining
from palate.finetuning.learn import Texts
from palate.methods import method_named
from palate.progress import Progress, Silent
from palate.settings import build
from palate.training import one_thread

#: In a folder of runs: the cells of all experiments, which share them, and one index each.
CELLS = "cells"
INDEX = "run.json"
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Outcome:
    """How a run ended: cells by status, how many were there before, and what skips and fails."""

    counts: dict[str, int]
    already: int
    seconds: float
    index: Path
    skipped: dict[str, str]
    failed: dict[str, str]


def run(
    experiment: Experiment,
    out: Path,
    place: Place,
    progress: Progress | None = None,
    *,
    jobs: int = 1,
) -> Outcome:
    """Compute the cells of an experiment that are not in `out` yet, and write its index.

    Every cell is written as soon as it is known, so a run that was stopped goes on where it was.
    A method's error is kept in its cell and tried again in the next run.
    """
    started = time.monotonic()
    progress = progress or Silent()
    materials = Materials(place, progress)
    store = CellStore(out / CELLS)
    cells = cells_of(experiment, materials)
    todo = list({cell.key: cell for cell in cells if not store.settled(cell.key)}.values())
    index = out / experiment.name / INDEX
    _write_index(index, experiment, cells, materials)
    encode(experiment, todo, materials)
    task = Task(experiment, place, store.folder)
    work = [(task, cell) for cell in todo]
    with progress.track(f"{experiment.name}: cells", len(cells)) as advance:
        advance(len(cells) - len(todo))
        for _ in each(compute, work, jobs, materials):
            advance(1)
    return _outcome(cells, store, len(cells) - len(todo), time.monotonic() - started, index)


@dataclass(frozen=True)
class Task:
    """What all cells of a run share."""

    experiment: Experiment
    place: Place
    store: Path


def compute(work: tuple[Task, Cell], materials: Materials) -> None:
    """Compute one cell and write it, whatever comes of it."""
    task, cell = work
    started = time.monotonic()
    content: Content = {"identity": dict(cell.identity)}
    try:
        content |= {"status": "done", **_measured(task.experiment, cell, materials)}
    except CannotRunError as reason:
        content |= {"status": "skipped", "reason": str(reason)}
    except BackboneError as error:
        absent = str(cell.identity["backbone"]).startswith(ABSENT)
        content |= {"status": "skipped", "reason": str(error)} if absent else _failure(error)
    except Exception as error:
        content |= _failure(error)
    content["seconds_in_all"] = time.monotonic() - started
    CellStore(task.store).write(cell.key, content)


def _failure(error: Exception) -> Content:
    words = f"{type(error).__name__}: {error}"
    return {"status": "failed", "error": words, "traceback": traceback.format_exc()}


def _measured(experiment: Experiment, cell: Cell, materials: Materials) -> dict[str, Any]:
    method_class = method_named(cell.row.method)
    settings = build(method_class.settings_class, cell.row.settings_of(cell.seed))
    data = materials.data(experiment.data, cell.seed)
    split = materials.split(experiment.data, experiment.split, cell.seed)
    backbone = experiment.backbone_of(cell.row)
    features = materials.features(data, backbone, method_class, settings)
    split = with_less(split, cell.row)
    if cell.row.train_backbone:
        training = build(BackboneTraining, cell.row.train_backbone)
        texts = Texts(data, features, materials.source(backbone))
        return measure_with_backbone(
            *(method_class, settings, texts, split, training), seed=cell.seed
        )
    with one_thread():
        return measure(method_class, settings, features, split, seed=cell.seed)


def encode(experiment: Experiment, todo: Sequence[Cell], materials: Materials) -> None:
    """Encode all texts that a run needs once, with a bar, before cells are shared out."""
    for cell in todo:
        method_class = method_named(cell.row.method)
        settings = build(method_class.settings_class, cell.row.settings_of(cell.seed))
        data = materials.data(experiment.data, cell.seed)
        with suppress(CannotRunError, BackboneError):  # the cell itself will say so
            materials.features(data, experiment.backbone_of(cell.row), method_class, settings)


def _write_index(
    path: Path, experiment: Experiment, cells: Sequence[Cell], materials: Materials
) -> None:
    """Which cell is which row's with which seed: what a report reads, data or no data."""
    lines: dict[str, dict[str, Any]] = {}
    for cell in cells:
        row = {"method": cell.row.method, "series": cell.row.series, "at": cell.row.at}
        line = lines.setdefault(cell.label, {**row, "cells": {}})
        line["cells"][str(cell.seed)] = cell.key
    content = {
        "experiment": asdict(experiment),
        "rows": lines,
        "data": materials.card(experiment.data, experiment.seeds[0]),
    }
    write_atomically(path, json.dumps(content, indent=1) + "\n")


def _outcome(
    cells: Sequence[Cell], store: CellStore, already: int, seconds: float, index: Path
) -> Outcome:
    counts: dict[str, int] = {}
    skipped, failed = {}, {}
    for cell in cells:
        content: Mapping[str, Any] = store.read(cell.key) or {"status": "missing"}
        counts[content["status"]] = counts.get(content["status"], 0) + 1
        if content["status"] == "skipped":
            skipped[cell.label] = content["reason"]
        if content["status"] == "failed":
            failed[f"{cell.label}, seed {cell.seed}"] = content["error"]
    return Outcome(counts, already, seconds, index, skipped, failed)


# -- workers ------------------------------------------------------------------------------------


def each(
    function: Callable[[T, Materials], R], work: Sequence[T], jobs: int, materials: Materials
) -> Iterator[R]:
    """What a function makes of every piece of work, in this process or in `jobs` others.

    Another process loads what it needs itself and computes in one thread.
    """
    if jobs <= 1 or len(work) <= 1:
        for piece in work:
            yield function(piece, materials)
        return
    with _workers(min(jobs, len(work)), materials.place) as pool:
        futures = [pool.submit(_in_worker, function, piece) for piece in work]
        for future in as_completed(futures):
            yield future.result()


@contextmanager
def _workers(jobs: int, place: Place) -> Iterator[ProcessPoolExecutor]:
    """Processes that end with this one's work, at once where it is interrupted."""
    before = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, context, initializer=_start_worker, initargs=(place,))
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for child in set(multiprocessing.active_children()) - before:
            child.terminate()
        raise
    pool.shutdown()


_worker_materials: Materials | None = None


def _start_worker(place: Place) -> None:
    """In a worker: Ctrl-C is the parent's to answer, and cores are not fought for."""
    global _worker_materials  # noqa: PLW0603 - what a process loads lives as long as it does
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    _worker_materials = Materials(place)


def _in_worker(function: Callable[[T, Materials], R], piece: T) -> R:
    assert _worker_materials is not None
    return function(piece, _worker_materials)
