"""`palate adapt` and `palate rank`: one user's posterior, and what it prefers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from palate.cli.output import (
    JsonOption,
    decimal,
    note,
    percent,
    print_json,
    print_table,
    progress,
    warn_of_left_out,
)

#: Weights that a table shows; a method with more has them over hidden states.
MOST_ROWS = 64

RunArgument = Annotated[Path, typer.Argument(help="A model's folder.")]
CacheOption = Annotated[Path | None, typer.Option(help="Folder of cached features.")]


def adapt(
    run: RunArgument,
    answers: Annotated[
        Path, typer.Argument(help="One user's comparisons: prompt, chosen, rejected.")
    ],
    out: Annotated[Path, typer.Option(help="File for the user's posterior (JSON).")],
    user: Annotated[Path | None, typer.Option(help="A posterior to continue.")] = None,
    cache: CacheOption = None,
    as_json: JsonOption = False,
) -> None:
    """Learn one user's taste from a few answers, or continue what was learned.

    Example: palate adapt runs/first answers.jsonl --out alice.json
    """
    from palate.data import PreferenceData
    from palate.errors import DataError, Problem
    from palate.model import PersonalRewardModel

    model = PersonalRewardModel.load(run, cache=cache)
    before = None if user is None else model.load_user(user)
    given = PreferenceData.load(answers, user="user")
    warn_of_left_out(given)
    if len(given.user_ids) > 1:
        names = ", ".join(given.user_ids[:3]) + (", ..." if len(given.user_ids) > 3 else "")
        message = f"answers of {len(given.user_ids)} users ({names}); give one user's alone"
        raise DataError([Problem(str(answers), None, "user_id", message)])
    profile = model.adapt(given, before, progress())
    profile.save(out)
    known = len(before.answers) if before else 0
    used = len(profile.answers) - known
    repeated = len(given) - used
    summary: dict[str, Any] = {
        "out": str(out),
        "model": model.identity,
        "new": used,
        "repeated": repeated,
    }
    summary |= profile.summary()
    if repeated:
        note(f"note: {repeated} answers were known already and count once")
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


def rank(
    run: RunArgument,
    candidates: Annotated[
        Path, typer.Argument(help="Responses: .txt (one a line), .json, .jsonl; - reads lines.")
    ],
    prompt: Annotated[str, typer.Option(help="What the candidates respond to.")],
    user: Annotated[
        Path | None, typer.Option(help="The user's posterior.", show_default="the population")
    ] = None,
    cache: CacheOption = None,
    as_json: JsonOption = False,
) -> None:
    """Order candidate responses by a user's expected reward.

    p_best is the probability that the user picks the candidate out of all of them.

    Example: palate rank runs/first --user alice.json --prompt "Why is the sky blue?" answers.txt
    """
    from palate.data.candidates import read_candidates, read_prompt
    from palate.model import PersonalRewardModel
    from palate.types import canonical

    model = PersonalRewardModel.load(run, cache=cache)
    profile = None if user is None else model.load_user(user)
    question, texts = read_prompt(prompt), read_candidates(candidates)
    ranking = model.rank(question, texts, profile)
    if as_json:
        rows = [
            {"index": c.index, "reward": c.reward, "sd": c.sd, "p_best": c.p_best}
            for c in ranking.candidates
        ]
        print_json({"prompt": prompt, "model": model.identity, "candidates": rows})
        return
    table = [
        (
            str(c.index),
            decimal(c.reward),
            decimal(c.sd),
            percent(c.p_best),
            _short(canonical(texts[c.index])),
        )
        for c in ranking.candidates
    ]
    print_table(prompt, ("candidate", "reward", "sd", "p_best", "text"), table, words=("text",))


def _short(text: str, most: int = 60) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"
