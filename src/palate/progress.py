"""How long steps tell how far they are: silent in a library, a bar in a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

Advance = Callable[[int], None]


class Progress(Protocol):
    """Something that can show a step of known length."""

    def track(self, step: str, total: int) -> AbstractContextManager[Advance]:
        """Show `step`; the function that is given takes how many of `total` are newly done."""
        ...


class Silent:
    """Shows nothing."""

    @contextmanager
    def track(self, step: str, total: int) -> Iterator[Advance]:
        """Do nothing."""
        del step, total
        yield lambda done: None


class Terminal:
    """A bar with the time left, on standard error so that output can be piped."""

    @contextmanager
    def track(self, step: str, total: int) -> Iterator[Advance]:
        """Show a bar until the step is over."""
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        columns = (
            TextColumn("[progress.description]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(elapsed_when_finished=True),
        )
        with Bars(*columns, console=Console(stderr=True)) as bars:
            task = bars.add_task(step, total=total)
            yield lambda done: bars.advance(task, done)
