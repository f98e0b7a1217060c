"""`palate check`: whether one user's answers were given with care, and still fit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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
from palate.cli.users import CacheOption, RunArgument


def check(
    run: RunArgument,
    answers: Annotated[
        Path, typer.Argument(help="One user's comparisons: prompt, chosen, rejected.")
    ],
    rate: Annotated[
        float, typer.Option(help="False alarms of drift in 100 answers of one taste.")
    ] = 0.01,
    cache: CacheOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say whether a user answers with care, and whether the answers still fit one taste.

    Care shows in pairs that were shown again. Each other answer is predicted from those before it;
    "since answer k" is the first from which predictions fail. Answers are in the order of their
    timestamps, or of the file. The exit code is 0 whatever is found.

    Example: palate check runs/first answers.jsonl
    """
    from palate.data import PreferenceData
    from palate.errors import DataError, Problem
    from palate.honesty.check import check_answers
    from palate.model import PersonalRewardModel

    if not 0.001 <= rate <= 0.5:
        message = f"{rate:g}; expected a probability from 0.001 to 0.5"
        raise DataError([Problem("--rate", None, None, message)])
    model = PersonalRewardModel.load(run, cache=cache)
    given = PreferenceData.load(answers, user="user")
    warn_of_left_out(given)
    found = check_answers(model.reader, given, rate=rate, progress=progress())
    if as_json:
        print_json({"answers": str(answers), "model": model.identity, **found.to_json()})
        return
    care = found.consistency
    low, high = (percent(end) for end in care.interval)
    agree = f"{care.agreeing} of {care.repeats} ({low} to {high})" if care.repeats else "none"
    rows = [
        ("answers", str(care.answers)),
        ("repeated pairs that agree", agree),
        ("probability of answering at random", percent(care.random)),
        ("care", care.verdict),
        ("surprise, in standard deviations", decimal(found.surprise, 2)),
        ("evidence of drift / alarm, in nats", _of(found.statistic, found.threshold)),
        ("no longer fit since answer", "-" if found.since is None else str(found.since)),
    ]
    print_table(str(answers), ("", ""), rows)
    typer.echo(found.verdict)


def _of(statistic: float, threshold: float | None) -> str:
    return f"{decimal(statistic, 2)} / {decimal(threshold, 2)}"
