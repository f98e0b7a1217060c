"""The commands by name, with the options that they share."""

from __future__ import annotations

import typer

from palate.cli import (
    alignment,
    annotation,
    bench,
    data,
    evaluation,
    honesty,
    keys,
    methods,
    questions,
    ranking,
    scale,
    serve,
    training,
    users,
    win_rates,
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
app.command()(training.export)
app.command()(evaluation.evaluate)
app.command()(users.adapt)
app.command()(users.withdraw)
app.command()(users.combine)
app.command()(ranking.rank)
app.command()(alignment.align)
app.command()(questions.question)
app.command()(honesty.check)
app.command()(methods.methods)
app.command()(serve.serve)

data_app = typer.Typer(help="Look at comparisons, or make some.", no_args_is_help=True)
data_app.command()(data.check)
data_app.command()(data.attributes)
data_app.command()(data.sets)
data_app.command()(data.prepare)
data_app.command()(annotation.annotate)
app.add_typer(data_app, name="data")

bench_app = typer.Typer(help="Compare methods on data sets, over seeds.", no_args_is_help=True)
bench_app.command()(bench.run)
bench_app.command()(bench.tune)
bench_app.command()(bench.report)
bench_app.command()(win_rates.win_rates)
app.add_typer(bench_app, name="bench")

scale_app = typer.Typer(help="Any number of rows, on Ray Data.", no_args_is_help=True)
scale_app.command()(scale.encode)
scale_app.command()(scale.adapt)
scale_app.command()(scale.score)
app.add_typer(scale_app, name="scale")

keys_app = typer.Typer(help="Who may ask the service, and for what.", no_args_is_help=True)
keys_app.command()(keys.create)
keys_app.command(name="list")(keys.list_keys)
keys_app.command()(keys.rotate)
keys_app.command()(keys.revoke)
app.add_typer(keys_app, name="keys")


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
