"""`palate rank`: which candidates a user prefers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from palate.cli.ageing import HalfLifeOption, NowOption, aged
from palate.cli.output import JsonOption, decimal, percent, print_json, print_table, short
from palate.cli.users import CacheOption, RunArgument


def rank(
    run: RunArgument,
    candidates: Annotated[
        Path, typer.Argument(help="Responses: .txt (one a line), .json, .jsonl; - reads lines.")
    ],
    prompt: Annotated[str, typer.Option(help="What the candidates respond to.")],
    user: Annotated[
        Path | None, typer.Option(help="The user's posterior.", show_default="the population")
    ] = None,
    half_life: HalfLifeOption = None,
    now: NowOption = None,
    cache: CacheOption = None,
    as_json: JsonOption = False,
) -> None:
    """Order candidate responses by a user's expected reward.

    p_best is the probability that the user picks the candidate out of all of them. With --half-life
    the user's older answers count less; the file stays as it is.

    Example: palate rank runs/first --user alice.json --prompt "Why is the sky blue?" answers.txt
    """
    from palate.data.candidates import read_candidates, read_prompt
    from palate.model import PersonalRewardModel
    from palate.types import canonical

    model = PersonalRewardModel.load(run, cache=cache)
    profile = None if user is None else model.load_user(user)
    profile = aged(model, profile, half_life, now)
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
            short(canonical(texts[c.index])),
        )
        for c in ranking.candidates
    ]
    print_table(prompt, ("candidate", "reward", "sd", "p_best", "text"), table, words=("text",))
