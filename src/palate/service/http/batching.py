"""Texts of requests that come at once go through the backbone together, in one thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

import numpy as np

from palate.errors import BackboneError
from palate.features.batches import EncodedChunk

#: Texts that are encoded at once, and that may wait: beyond, a request is told to come later.
TOGETHER, WAITING = 64, 2048
Encode = Callable[[Sequence[Any]], Iterator[EncodedChunk]]
#: What a thread has spent in waiting for the backbone.
SPENT = threading.local()


class BusyError(BackboneError):
    """More texts wait for the backbone than it reads in seconds."""


@dataclass
class _Job:
    texts: Sequence[Any]
    done: Future[list[EncodedChunk]] = field(default_factory=Future)


class Batcher:
    """One thread that encodes whatever waits. It ends with the process."""

    def __init__(self, encode: Encode) -> None:
        self._encode = encode
        self._jobs: SimpleQueue[_Job] = SimpleQueue()
        self._waiting = 0
        self._lock = threading.Lock()
        self.batches = self.texts = 0
        threading.Thread(target=self._work, name="palate-encoding", daemon=True).start()

    def __call__(self, texts: Sequence[Any]) -> Iterator[EncodedChunk]:
        """Chunks of some texts, as the backbone gives them."""
        if not texts:
            return iter(())
        with self._lock:
            if self._waiting and self._waiting + len(texts) > WAITING:
                raise BusyError(f"{self._waiting} texts wait to be encoded; try again later")
            self._waiting += len(texts)
        job = _Job(texts)
        started = time.perf_counter()
        self._jobs.put(job)
        try:
            return iter(job.done.result())
        finally:
            with self._lock:
                self._waiting -= len(texts)
            SPENT.seconds = getattr(SPENT, "seconds", 0.0) + time.perf_counter() - started

    def _work(self) -> None:
        while True:
            jobs = [self._jobs.get()]
            while not self._jobs.empty() and sum(len(job.texts) for job in jobs) < TOGETHER:
                jobs.append(self._jobs.get())
            try:
                self._run(jobs)
            except BaseException as error:  # to be raised where it can be answered
                for job in jobs:
                    if not job.done.done():
                        job.done.set_exception(error)

    def _run(self, jobs: list[_Job]) -> None:
        """One batch; where it fails, each job by itself, so that one text fails no neighbour."""
        texts = [text for job in jobs for text in job.texts]
        try:
            chunks = list(self._encode(texts))
        except Exception:
            if len(jobs) == 1:
                raise
            for job in jobs:
                try:
                    job.done.set_result(list(self._encode(job.texts)))
                except Exception as error:
                    job.done.set_exception(error)
            return
        self.batches, self.texts = self.batches + 1, self.texts + len(texts)
        for job, part in zip(jobs, _divided(chunks, [len(job.texts) for job in jobs]), strict=True):
            job.done.set_result([part])


def _divided(chunks: list[EncodedChunk], sizes: list[int]) -> Iterator[EncodedChunk]:
    """The chunks' rows in order, a part for each job."""
    places = np.concatenate([chunk.places for chunk in chunks])
    order = np.argsort(places)
    vectors = np.concatenate([chunk.vectors for chunk in chunks])[order]
    tokens = np.concatenate([chunk.tokens for chunk in chunks])[order]
    start = 0
    for size in sizes:
        end = start + size
        yield EncodedChunk(np.arange(size), vectors[start:end], tokens[start:end])
        start = end
