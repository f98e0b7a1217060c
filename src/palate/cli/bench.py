"""`palate bench`: run experiments, tune their methods, report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from palate.cli.output import JsonOption, decimal, note, print_json, print_table, progress

if TYPE_CHECKING:
    from palate.bench.material import Place
    from palate.bench.runner import Outcome
    from palate.bench.tables import Table

#: Where runs go unless told otherwise.
RUNS = Path("runs/bench")
#: Exit code of a run in which a method failed; bad input is 2.
FAILED = 1

ExperimentArgument = Annotated[Path, typer.Argument(help="An experiment: a YAML file.")]
OutOption = Annotated[Path, typer.Option(help="Folder of runs; experiments share its cells.")]
JobsOption = Annotated[int, typer.Option(min=1, help="Processes, of one thread each.")]
CacheOption = Annotated[Path | None, typer.Option(help="Folder of cached features.")]
DataOption = Annotated[
    list[str] | None,
    typer.Option("--data", help="Where a data set is, name=path; PALATE_DATA names a folder."),
]


def run(
    experiment: ExperimentArgument,
    out: OutOption = RUNS,
    jobs: JobsOption = 1,
    data: DataOption = None,
    cache: CacheOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compute what is not there yet: every row with every seed, one file each.

    It can be stopped at any time and goes on where it was. Exit code 1 if a method failed.

    Example: palate bench run experiments/opinions.yaml --data opinions=data/opinions.parquet
    """
    from palate.bench.experiment_file import read_experiment
    from palate.bench.runner import run as run_experiment

    read = read_experiment(experiment)
    outcome = run_experiment(read, out, _place(experiment, data, cache), progress(), jobs=jobs)
    if as_json:
        print_json({**vars(outcome), "index": str(outcome.index)})
    else:
        _print_outcome(outcome, out)
    if outcome.failed:
        raise typer.Exit(FAILED)


def tune(
    experiment: ExperimentArgument,
    trials: Annotated[int, typer.Option(min=1, help="Settings tried, of every method.")] = 8,
    out: OutOption = RUNS,
    jobs: JobsOption = 1,
    data: DataOption = None,
    cache: CacheOption = None,
    as_json: JsonOption = False,
) -> None:
    """Choose every method's settings on validation alone, and write them into the experiment.

    Every row gets the same number of trials with every seed; the first one is the defaults.

    Example: palate bench tune experiments/opinions.yaml --trials 8 --jobs 2
    """
    from palate.bench.experiment_file import read_experiment
    from palate.bench.tuning_trials import tune as tune_experiment

    read = read_experiment(experiment)
    place = _place(experiment, data, cache)
    chosen = tune_experiment(read, experiment, out, place, progress(), trials=trials, jobs=jobs)
    if as_json:
        print_json({"experiment": str(experiment), "chosen": [vars(one) for one in chosen]})
        return
    rows = [
        (c.label, str(c.seed), decimal(c.default, 4), decimal(c.log_loss, 4), c.words())
        for c in chosen
    ]
    columns = ("row", "seed", "default", "chosen", "settings")
    print_table(f"log-loss on validation; written into {experiment}", columns, rows,
                words=("settings",))  # fmt: skip
    for c in chosen:
        if c.reason:
            note(f"skipped: {c.label}: {c.reason}")


def report(
    runs: Annotated[
        list[Path] | None, typer.Argument(help="Experiments, or folders of their runs; or all.")
    ] = None,
    out: OutOption = RUNS,
    to: Annotated[
        Path | None, typer.Option(help="Folder for the report.", show_default="OUT/report")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Print tables; write them as Markdown, LaTeX and one HTML page with figures.

    Example: palate bench report experiments/opinions.yaml
    """
    from palate.bench.report import write_report
    from palate.bench.results import find_runs, read_results
    from palate.bench.summary import summarise
    from palate.bench.tables import absences, tables_of

    summaries = [summarise(read_results(index)) for index in find_runs(out, runs or [])]
    written = write_report(summaries, to or out / "report")
    if as_json:
        print_json({summary.results.name: summary.to_json() for summary in summaries})
        return
    for summary in summaries:
        typer.echo(f"\n{summary.results.experiment['title']}\n")
        for table in tables_of(summary, short=True):
            _print(table)
        if not summary.entries:
            for line in ["Nothing is computed yet.", *absences(summary)]:
                typer.echo(line)
    note(f"written: {written[0]}, and Markdown, LaTeX, JSON and figures beside it")


def _print(table: Table) -> None:
    from palate.bench.tables import as_strings

    print_table(table.title, table.columns, as_strings(table.rows))
    for line in table.notes:
        typer.echo(f"  {line.replace('Bold:', '*:').replace('bold where', '* where')}")
    typer.echo("")


def _print_outcome(outcome: Outcome, out: Path) -> None:
    for label, reason in outcome.skipped.items():
        note(f"skipped: {label}: {reason}")
    for label, error in outcome.failed.items():
        note(f"failed: {label}: {error}")
    counts = ", ".join(f"{number} {status}" for status, number in outcome.counts.items())
    typer.echo(f"cells: {counts}; {outcome.already} were there; {outcome.seconds:.0f} s")
    more = "" if out == RUNS else f" --out {out}"
    typer.echo(f"now: palate bench report {outcome.index.parent}{more}")


def _place(experiment: Path, data: list[str] | None, cache: Path | None) -> Place:
    from palate.bench.material import Place
    from palate.errors import SettingsError

    elsewhere = {}
    for assignment in data or []:
        name, equals, path = assignment.partition("=")
        if not (name and equals and path):
            raise SettingsError(f"--data {assignment!r}: expected name=path")
        elsewhere[name] = path
    return Place(experiment.absolute().parent, elsewhere, cache)
