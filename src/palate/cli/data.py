"""`palate data`: check comparisons, write out the Attributes world or a public data set."""

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


def sets(as_json: JsonOption = False) -> None:
    """List the data sets that experiments name, with their options.

    Example: palate data sets
    """
    from dataclasses import MISSING, fields

    from palate.data.benchmarks import BENCHMARKS, benchmark

    found = {name: benchmark(name) for name in BENCHMARKS}
    options = {
        name: {f.name: None if f.default is MISSING else f.default for f in fields(one.options)}
        for name, one in found.items()
    }
    if as_json:
        print_json({n: {"title": one.title, "options": options[n]} for n, one in found.items()})
        return
    rows = [
        (name, one.title, ", ".join(f"{k}={v}" for k, v in options[name].items()))
        for name, one in found.items()
    ]
    print_table("data sets", ("name", "what", "options"), rows, words=("what", "options"))


def prepare(
    name: Annotated[str, typer.Argument(help="A data set that `palate data sets` lists.")],
    out: Annotated[Path, typer.Option(help="Folder for comparisons and card.")],
    source: Annotated[
        Path | None,
        typer.Option(help="A copy in the official schema: a folder or a file.", show_default="hub"),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Draws users and splits.")] = 0,
    option: Annotated[
        list[str] | None,
        typer.Option("--set", help="An option of the data set, name=value; may be repeated."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a public data set as comparisons, divided as its paper has it, with its card.

    Example: palate data prepare prism --source downloads/prism --out runs/prism
    """
    from palate.data.benchmarks import load_benchmark
    from palate.data.benchmarks.files import write_prepared
    from palate.files import refuse_existing
    from palate.settings import parse_assignments

    refuse_existing(out, overwrite=False)
    options = parse_assignments(option or [])
    prepared = load_benchmark(name, source=source, seed=seed, options=options)
    written = write_prepared(prepared, out)
    if as_json:
        print_json({"files": written, "card": prepared.card.to_json()})
        return
    print_table(str(out), ("file", "what"), list(written.items()), words=("what",))


def _cell(value: object) -> str:
    if isinstance(value, float):
        return decimal(value, 1)
    return f"{value:,}" if isinstance(value, int) else str(value)
