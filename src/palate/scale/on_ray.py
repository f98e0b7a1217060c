"""Parts as rows of a Ray Data set: workers on this machine, or of a cluster."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator, Sequence
from typing import Any, Self
from urllib.parse import urlsplit

import numpy as np

from palate import errors
from palate.errors import PalateError, ScaleError
from palate.scale.job import Work

#: Seconds that a cluster's machine has to answer.
PATIENCE = 5.0
#: Most blocks of a data set: its overhead grows with them.
MOST_BLOCKS = 4096
#: Bytes of the local object store: rows here are numbers of parts, and parts are in files.
STORE_BYTES = 100 * 2**20

Batch = dict[str, Any]


class OnRay:
    """Ray Data with a number of workers, one processor each and `gpus` of a GPU.

    workers: None is one a processor, but for the one that has to stay free.
    address: of a running cluster, whose machines see the same paths; None starts one here, for as
    long as the context lasts. A program that is connected to Ray already stays so.
    """

    def __init__(self, workers: int | None, address: str | None = None, gpus: float = 0.0) -> None:
        self.workers = workers or 0
        self.address = address
        self.gpus = gpus
        self._began = self._ours = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        if self._ours:
            import ray

            ray.shutdown()

    def begin(self) -> None:
        """Start Ray or connect to it, once; raises `ScaleError`."""
        if self._began:
            return
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
        try:
            import ray
            import ray.data
        except ImportError as error:
            raise ScaleError(
                "this needs Ray Data: pip install 'palate[scale]', or --workers 0 without it"
            ) from error
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        ray.data.DataContext.get_current().enable_progress_bars = False
        if self.address is not None:
            _knock(self.address)
        self._ours = not ray.is_initialized()
        if self._ours:
            self._start()
        self._check_room()
        self._began = True

    def run(self, work: Work, numbers: Sequence[int], *, gpu: bool = False) -> Iterator[int]:
        """Do `work` for each number on the workers; a lost worker's is done again by another.

        Raises what a worker raised. Tasks keep their process, so that what it loaded stays; a GPU
        is kept by an actor.
        """
        self.begin()
        if not numbers:
            return
        from ray.data import ActorPoolStrategy, TaskPoolStrategy, from_items

        items = [{"number": int(number)} for number in numbers]
        size = min(self.workers, len(items))
        data: Any = from_items(items, override_num_blocks=min(len(items), MOST_BLOCKS))
        resources: dict[str, Any] = {"num_cpus": 1, "fn_kwargs": {"work": work}, "batch_size": 1}
        if gpu and self.gpus:
            pool = ActorPoolStrategy(size=size)
            done = data.map_batches(_Actor, compute=pool, num_gpus=self.gpus, **resources)
        else:
            done = data.map_batches(do, compute=TaskPoolStrategy(size=size), **resources)
        for batch in done.iter_batches(batch_size=None, prefetch_batches=0):
            for number, failure in zip(batch["number"], batch["failure"], strict=True):
                if failure:
                    raise _restored(str(failure))
                yield int(number)

    def _start(self) -> None:
        import ray

        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if self.address is None:
            ray.init(
                address="local",
                num_cpus=(self.workers or os.cpu_count() or 1) + 1,
                include_dashboard=False,
                object_store_memory=STORE_BYTES,
                **quiet,
            )
            return
        try:
            ray.init(address=self.address, **quiet)
        except (ConnectionError, ValueError, RuntimeError, TimeoutError) as error:
            raise ScaleError(
                f"no Ray cluster at {self.address} ({error}): give the address that `ray start "
                "--head` printed"
            ) from error

    def _check_room(self) -> None:
        """A pool that takes every processor waits for ever: one has to stay free."""
        import ray

        there: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        self.workers = self.workers or max(int(there.get("CPU", 0)) - 1, 1)
        if there.get("CPU", 0) < self.workers + 1:
            raise ScaleError(
                f"{self.workers} workers do not fit: Ray has {there.get('CPU', 0):.0f} processors, "
                "and one has to stay free; lower --workers"
            )
        if there.get("GPU", 0) < self.gpus * self.workers:
            raise ScaleError(
                f"{self.workers} workers with {self.gpus:g} GPUs each do not fit: Ray has "
                f"{there.get('GPU', 0):g}; lower --workers or --gpus"
            )


def do(batch: Batch, work: Work) -> Batch:
    """Do `work` for a batch of numbers; what it refuses travels as words."""
    failures = [_failure(work, int(number)) for number in batch["number"]]
    return {"number": batch["number"], "failure": np.array(failures)}


class _Actor:
    """A worker that keeps its GPU."""

    def __call__(self, batch: Batch, work: Work) -> Batch:
        return do(batch, work)


def _failure(work: Work, number: int) -> str:
    try:
        work(number)
    except PalateError as error:
        return f"{type(error).__name__}\n{error}"
    return ""


def _restored(failure: str) -> PalateError:
    """The error that a worker raised, of its class."""
    name, _, message = failure.partition("\n")
    kind = getattr(errors, name, ScaleError)
    restored: PalateError = kind(message)
    return restored


def _knock(address: str) -> None:
    """Raise `ScaleError` where nobody listens: Ray itself would wait for minutes."""
    if address == "auto":
        return
    parts = urlsplit(address if "//" in address else f"//{address}")
    try:
        if not parts.hostname or not parts.port:
            raise ScaleError(
                f"--address {address!r}: expected host:port, as `ray start --head` printed, or auto"
            )
        with socket.create_connection((parts.hostname, parts.port), timeout=PATIENCE):
            return
    except (OSError, ValueError) as error:
        raise ScaleError(
            f"no Ray cluster at {address} ({error}): start one with `ray start --head`, or leave "
            "--address out to work on this machine"
        ) from error
