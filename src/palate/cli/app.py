"""The commands by name, with the options that they share."""

from __future__ import annotations

import typer

from palate.cli import (
    bench,
    data,
    evaluation,
    honesty,
    methods,
    questions,
    ranking,
    training,
    users,
)

HELP = """A reward model for every user, from a handful of "I prefer this answer".

Example: palate train comparisons.parquet --out runs/first && palate evaluate runs/first
"""

app = typer.Typer(
    name="palate",
    help=HELP,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(training.train)
app.command()(evaluation.evaluate)
app.command()(users.adapt)
app.command()(users.withdraw)
app.command()(users.combine)
app.command()(ranking.rank)
app.command()(questions.question)
app.command()(honesty.check)
app.command()(methods.methods)

data_app = typer.Typer(help="Look at comparisons, or make some.", no_args_is_help=True)
data_app.command()(data.check)
data_app.command()(data.attributes)
data_app.command()(data.sets)
data_app.command()(data.prepare)
app.add_typer(data_app, name="data")

bench_app = typer.Typer(help="Compare methods on data sets, over seeds.", no_args_is_help=True)
bench_app.command()(bench.run)
bench_app.command()(bench.tune)
bench_app.command()(bench.report)
app.add_typer(bench_app, name="bench")


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"palate {version('palate')}")
        raise typer.Exit


@app.callback()
def options(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and exit."
    ),
) -> None:
    """What comes before a command."""
    del version


app.info.help = HELP
