"""What commands print: tables for people, one JSON object for programs, progress and warnings."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from palate.data import PreferenceData
    from palate.progress import Progress

JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON object and nothing else.", show_default=False)
]


def print_json(content: Mapping[str, Any]) -> None:
    """One object on standard output, in ASCII; numbers that are none (NaN) are refused."""
    typer.echo(json.dumps(content, indent=1, allow_nan=False))


def print_table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, words: Sequence[str] = ()
) -> None:
    """A table; columns are numbers, aligned to the right, but the first and those of `words`."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, show_header=any(columns))
    for i, column in enumerate(columns):
        numbers = i > 0 and column not in words
        table.add_column(column, justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console = Console(file=sys.stdout, highlight=False)
    console.print(Text(title, style="bold"))
    console.print(table)


def note(message: str) -> None:
    """A remark to the person at the terminal, apart from the output."""
    typer.echo(message, err=True)


def warn_of_left_out(data: PreferenceData) -> None:
    """Say which rows of the data say nothing."""
    if data.left_out:
        rows = ", ".join(str(problem.row) for problem in data.left_out)
        note(
            f"warning: {data.source}: {len(data.left_out)} rows left out, since the same text is "
            f"chosen and rejected (rows {rows})"
        )


def progress() -> Progress:
    """Bars on standard error."""
    from palate.progress import Terminal

    return Terminal()


def percent(share: float | None) -> str:
    """A share for people."""
    return "-" if share is None else f"{100 * share:.1f}%"


def decimal(value: float | None, digits: int = 3) -> str:
    """A number for people."""
    return "-" if value is None else f"{value:.{digits}f}"


def short(text: str, most: int = 60) -> str:
    """A text in one line of a table."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"
