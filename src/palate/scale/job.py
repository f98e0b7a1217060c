"""A job: rows are sorted into parts, then each part is made by itself, whole or not at all.

Both steps are functions of the input alone, and what is finished is skipped: so a job that was
stopped, wherever, goes on and ends in the same bytes.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from palate.data.sources import TOLERATED_ONE_IN
from palate.errors import DataError, Problem
from palate.progress import Progress, Silent
from palate.scale.folder import begun, part_path, piece_path
from palate.scale.shuffle import read_counts
from palate.scale.source import Source
from palate.scale.whole import counts_of

#: What a step does with the number of a piece or of a part.
Work = Callable[[int], None]


class Engine(Protocol):
    """Where the work is done."""

    def begin(self) -> None:
        """Make ready; called before work, as often as one likes."""
        ...

    def run(self, work: Work, numbers: Sequence[int], *, gpu: bool = False) -> Iterator[int]:
        """Do `work` for each number, in any order; yields those that are done.

        gpu: whether it runs a backbone, which a GPU does faster.
        """
        ...


class Here:
    """In this process, one after the other."""

    def begin(self) -> None:
        """There is nothing to make ready."""

    def run(self, work: Work, numbers: Sequence[int], *, gpu: bool = False) -> Iterator[int]:
        """Do `work` for each number."""
        del gpu  # a backbone looks for one itself
        for number in numbers:
            work(number)
            yield number


@dataclass(frozen=True)
class Job(ABC):
    """What workers need to know, wherever they are: out and source are the same paths there."""

    kind: ClassVar[str]
    #: Whether making a part runs a backbone.
    gpu: ClassVar[bool] = False
    #: What its steps are called while one waits.
    steps: ClassVar[tuple[str, str]]

    out: Path
    source: Source
    parts: int

    @property
    @abstractmethod
    def manifest(self) -> dict[str, Any]:
        """Settings and identities that decide what comes out."""

    @abstractmethod
    def scatter(self, number: int) -> None:
        """Sort the rows of a piece of the input into parts."""

    @abstractmethod
    def gather(self, part: int) -> None:
        """Make a part from its rows."""

    @property
    def pieces(self) -> list[Path]:
        """Where the pieces wait."""
        return [piece_path(self.out, number) for number in range(len(self.source.pieces))]


@dataclass(frozen=True)
class Outcome:
    """A finished job: parts, how many were there already, and what all of them count."""

    parts: int
    already: int
    counts: dict[str, int]
    seconds: float


def run_job(job: Job, engine: Engine, progress: Progress | None = None) -> Outcome:
    """Do what is left of a job; raises `ScaleError` where its folder is another's."""
    started, shown = time.monotonic(), progress or Silent()
    wanted = [part_path(job.out, part) for part in range(job.parts)]
    manifest = {"kind": job.kind, "parts": job.parts, "input": job.source.digest, **job.manifest}
    with begun(job.out, manifest):
        missing = _missing(wanted)
        if missing:
            engine.begin()
            pieces = _missing(job.pieces)
            with shown.track(job.steps[0], len(pieces)) as advance:
                for _ in engine.run(job.scatter, pieces):
                    advance(1)
            _check_left_out(job)
            with shown.track(job.steps[1], len(missing)) as advance:
                for _ in engine.run(job.gather, missing, gpu=job.gpu):
                    advance(1)
    counts = Counter[str]()
    for path in wanted:
        counts.update(counts_of(path))
    already = job.parts - len(missing)
    return Outcome(job.parts, already, dict(counts), round(time.monotonic() - started, 2))


def _missing(paths: Sequence[Path]) -> list[int]:
    return [number for number, path in enumerate(paths) if not path.exists()]


def _check_left_out(job: Job) -> None:
    """Few rows that say nothing are left out, as in one file; more are a broken export."""
    left_out = sum(read_counts(path)["left_out"] for path in job.pieces)
    if left_out * TOLERATED_ONE_IN > job.source.rows:
        message = (
            f"{left_out:,} of {job.source.rows:,} rows say nothing, since the same text is chosen "
            f"and rejected; at most one in {TOLERATED_ONE_IN:,} is left out: mend the export"
        )
        raise DataError([Problem(job.source.path, None, "rejected", message)])
