"""`palate data`: check comparisons, and write out the Attributes world."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from palate.cli.output import JsonOption, decimal, note, print_json, print_table


def check(
    file: Annotated[Path, typer.Argument(help="Parquet, JSON Lines (.gz too) or CSV.")],
    as_json: JsonOption = False,
) -> None:
    """Validate comparisons and say what is in them; lists every problem, exit code 2 if any.

    Example: palate data check comparisons.parquet
    """
    from palate.data.checks import inspect_file

    report = inspect_file(file)
    if as_json:
        print_json(report.to_json())
    else:
        for problem in report.problems:
            note(f"problem: {problem}")
        if report.summary is not None:
            rows = [(name, _cell(value)) for name, value in report.rows()]
            print_table(f"{file}", ("", ""), rows)
        verdict = "no problem found" if report.sound else f"{len(report.problems)} problems"
        typer.echo(verdict)
    if not report.sound:
        raise typer.Exit(2)


def attributes(
    folder: Annotated[Path, typer.Argument(help="Folder for comparisons, answers, candidates.")],
    users: Annotated[int, typer.Option(help="Users, at least 84: every pair of traits.")] = 840,
    comparisons: Annotated[int, typer.Option(help="Comparisons of each user.")] = 100,
    seed: Annotated[int, typer.Option(help="What the world is drawn from.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Write the Attributes world: comparisons with known tastes, and a new user to adapt to.

    Example: palate data attributes runs/world
    """
    from palate.data.synthetic.files import write_world

    written = write_world(folder, users=users, comparisons=comparisons, seed=seed)
    if as_json:
        print_json(written)
        return
    print_table(str(folder), ("file", "what"), list(written.items()), words=("what",))


def _cell(value: object) -> str:
    if isinstance(value, float):
        return decimal(value, 1)
    return f"{value:,}" if isinstance(value, int) else str(value)
