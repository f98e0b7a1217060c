"""`palate evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from palate.cli.output import (
    JsonOption,
    decimal,
    percent,
    print_json,
    print_table,
    progress,
    warn_of_left_out,
)


def evaluate(
    run: Annotated[Path, typer.Argument(help="A model's folder.")],
    data: Annotated[
        Path | None,
        typer.Option(help="Other comparisons than those trained on.", show_default="trained on"),
    ] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder of cached features.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Accuracy and calibration for seen and unseen users, on texts never trained on.

    Example: palate evaluate runs/first --json
    """
    from palate.data import PreferenceData
    from palate.model import PersonalRewardModel

    model = PersonalRewardModel.load(run, cache=cache)
    comparisons = PreferenceData.load(data or model.training_file())
    warn_of_left_out(comparisons)
    figures = model.evaluate(comparisons, progress()).to_json()
    if model.is_training_data(comparisons):
        model.write_figures(run, figures)
    if as_json:
        print_json(figures)
        return
    rows = [_row(name, figures[name]) for name in ("seen", "unseen")]
    rows.append(("overall", percent(figures["overall"]), "", "", "", ""))
    columns = ("users", "accuracy", "95% interval", "number", "log-loss", "calibration error")
    print_table(f"{model.method.name} in {run}", columns, rows)
    few = figures["few_shot"]
    row = ("accuracy", *(percent(value) for value in few.values()))
    print_table("Unseen users, by comparisons they are adapted on", ("", *few), [row])


def _row(name: str, part: dict[str, Any]) -> tuple[str, ...]:
    low, high = part["interval"]
    return (
        name,
        percent(part["accuracy"]),
        f"{percent(low)} to {percent(high)}",
        f"{part['users']:,}",
        decimal(part["log_loss"]),
        decimal(part["calibration_error"]),
    )
