"""`palate adapt`, `withdraw` and `combine`: one user's posterior, and the answers behind it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from palate.cli.ageing import HalfLifeOption, NowOption, aged
from palate.cli.output import (
    JsonOption,
    decimal,
    note,
    print_json,
    print_table,
    progress,
    warn_of_left_out,
)

if TYPE_CHECKING:
    from palate.adaptation import UserProfile
    from palate.data import PreferenceData

#: Weights that a table shows; a method with more has them over hidden states.
MOST_ROWS = 64

RunArgument = Annotated[Path, typer.Argument(help="A model's folder.")]
CacheOption = Annotated[Path | None, typer.Option(help="Folder of cached features.")]
OutOption = Annotated[Path, typer.Option(help="File for the user's posterior (JSON).")]


def adapt(
    run: RunArgument,
    answers: Annotated[
        Path, typer.Argument(help="One user's comparisons: prompt, chosen, rejected.")
    ],
    out: OutOption,
    user: Annotated[Path | None, typer.Option(help="A posterior to continue.")] = None,
    half_life: HalfLifeOption = None,
    now: NowOption = None,
    cache: CacheOption = None,
    as_json: JsonOption = False,
) -> None:
    """Learn one user's taste from a few answers, or continue what was learned.

    A column `timestamp` says when an answer was given; with --half-life older ones count less.

    Example: palate adapt runs/first answers.jsonl --out alice.json
    """
    from palate.model import PersonalRewardModel

    model = PersonalRewardModel.load(run, cache=cache)
    before = None if user is None else model.load_user(user)
    given = _one_users(answers)
    profile = aged(model, model.adapt(given, before, progress()), half_life, now)
    profile.save(out)
    known = len(before.answers) if before else 0
    used = len(profile.answers) - known
    repeated = len(given) - used
    if repeated:
        note(f"note: {repeated} answers were known already and count once")
    _show(out, profile, as_json, new=used, repeated=repeated)


def withdraw(
    run: RunArgument,
    answers: Annotated[Path, typer.Argument(help="The comparisons to take back.")],
    user: Annotated[Path, typer.Option(help="The user's posterior.")],
    out: OutOption,
    as_json: JsonOption = False,
) -> None:
    """Take answers back: the posterior is as if they had never been given.

    Example: palate withdraw runs/first wrong.jsonl --user alice.json --out alice.json
    """
    from palate.model import PersonalRewardModel

    model = PersonalRewardModel.load(run)
    before = model.load_user(user)
    profile = model.withdraw(before, _one_users(answers))
    profile.save(out)
    _show(out, profile, as_json, taken_back=len(before.answers) - len(profile.answers))


def combine(
    run: RunArgument,
    one: Annotated[Path, typer.Argument(help="The user's posterior on one device.")],
    other: Annotated[Path, typer.Argument(help="The user's posterior on another.")],
    out: OutOption,
    half_life: HalfLifeOption = None,
    now: NowOption = None,
    as_json: JsonOption = False,
) -> None:
    """Join what two devices know of one user: all answers once, what was withdrawn left out.

    Example: palate combine runs/first phone.json laptop.json --out alice.json
    """
    from palate.model import PersonalRewardModel

    model = PersonalRewardModel.load(run)
    devices = [aged(model, model.load_user(path), half_life, now) for path in (one, other)]
    profile = model.combine(*devices)
    profile.save(out)
    _show(out, profile, as_json)


def _one_users(answers: Path) -> PreferenceData:
    """A file's comparisons; raises `DataError` where they are of several users."""
    from palate.data import PreferenceData
    from palate.errors import DataError, Problem

    given = PreferenceData.load(answers, user="user")
    warn_of_left_out(given)
    if len(given.user_ids) > 1:
        names = ", ".join(given.user_ids[:3]) + (", ..." if len(given.user_ids) > 3 else "")
        message = f"answers of {len(given.user_ids)} users ({names}); give one user's alone"
        raise DataError([Problem(str(answers), None, "user_id", message)])
    return given


def _show(out: Path, profile: UserProfile, as_json: bool, **counts: int) -> None:
    """What was written: one object for programs, the weights as a table for people."""
    summary: dict[str, Any] = {"out": str(out), "model": profile.model}
    summary |= counts | profile.summary()
    if profile.contradictory:
        note(f"note: {profile.contradictory} answers contradict others; all of them count")
    if as_json:
        print_json(summary)
        return
    title = f"{out}: {summary['answers']} answers, uncertainty {decimal(profile.uncertainty)}"
    weights = summary["weights"]
    if weights is None or len(weights) > MOST_ROWS:
        print_table(title, ("", ""), [(f"{profile.method} has no bases to show", "")])
        return
    spread = summary["weights_sd"] or [None] * len(weights)
    rows = [
        (str(k), decimal(w), decimal(s))
        for k, (w, s) in enumerate(zip(weights, spread, strict=True))
    ]
    print_table(title, ("basis", "weight", "sd"), rows)
