"""`palate question`: which pairs to ask a user about next, and whether it is still worth it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from palate.cli.output import (
    JsonOption,
    decimal,
    note,
    percent,
    print_json,
    print_table,
    progress,
    short,
)
from palate.cli.users import CacheOption, RunArgument

if TYPE_CHECKING:
    from palate.questions.ask import Asked
    from palate.types import Comparison

#: Characters of a text that a table shows.
SHOWN = 40


def question(
    run: RunArgument,
    pool: Annotated[
        Path,
        typer.Argument(help="Pairs: prompt with response_a, response_b (or chosen, rejected)."),
    ],
    user: Annotated[
        Path | None, typer.Option(help="The user's posterior.", show_default="the population")
    ] = None,
    rule: Annotated[
        str, typer.Option(help="information, slope, ellipsoid, eubo or random.")
    ] = "information",
    count: Annotated[int, typer.Option(help="How many questions, none a repeat of another.")] = 1,
    candidates: Annotated[
        Path | None, typer.Option(help="Responses whose ranking matters, as in `palate rank`.")
    ] = None,
    prompt: Annotated[str | None, typer.Option(help="What those respond to.")] = None,
    seed: Annotated[int, typer.Option(help="Of random questions.")] = 0,
    cache: CacheOption = None,
    as_json: JsonOption = False,
) -> None:
    """Choose the pairs whose answers would teach most about a user.

    Pairs that the user has answered are left out. The last line says whether to go on: "settled" is
    a next answer that changes the best candidate with probability under 5%, or without --candidates
    one that turns under 5% of the predictions for the pool's pairs.

    Example: palate question runs/first pool.jsonl --user alice.json --count 5
    """
    from palate.data.candidates import read_candidates, read_prompt
    from palate.errors import DataError, Problem
    from palate.model import PersonalRewardModel
    from palate.questions.pool import read_pool

    if (candidates is None) != (prompt is None):
        message = "give --candidates and --prompt together: the responses and what they respond to"
        raise DataError([Problem("--candidates", None, None, message)])
    model = PersonalRewardModel.load(run, cache=cache)
    profile = model.new_user() if user is None else model.load_user(user)
    pairs = read_pool(pool)
    if answered := sum(map(profile.has_answered, pairs)):
        note(f"note: {answered} pairs were answered already and are left out")
    asked = model.questions(
        pairs,
        profile,
        rule=rule,
        count=count,
        prompt=None if prompt is None else read_prompt(prompt),
        candidates=None if candidates is None else read_candidates(candidates),
        seed=seed,
        progress=progress(),
    )
    if len(asked.choices) < count:
        note(f"note: the pool has {len(asked.choices)} different pairs left to ask")
    told = [(choice.index + 1, pairs[choice.index], choice) for choice in asked.choices]
    if as_json:
        questions = [
            {"row": row, "score": choice.score, "probability": choice.probability, **_texts(pair)}
            for row, pair, choice in told
        ]
        verdict = {"change": asked.change, "settled": asked.settled}
        print_json({"model": model.identity, "rule": rule, "questions": questions, **verdict})
        return
    table = [
        (
            str(row),
            decimal(choice.score, 4),
            percent(choice.probability),
            *(short(str(text), SHOWN) for text in _texts(pair).values()),
        )
        for row, pair, choice in told
    ]
    columns = ("row", rule, "P(a over b)", "prompt", "response_a", "response_b")
    print_table(str(pool), columns, table, words=columns[3:])
    typer.echo(_verdict(asked, candidates is not None))


def _texts(pair: Comparison) -> dict[str, Any]:
    """A pair's texts by the pool's names; conversations as lists of turns."""
    texts = {"prompt": pair.prompt, "response_a": pair.chosen, "response_b": pair.rejected}
    return {
        name: text if isinstance(text, str) else [vars(turn) for turn in text]
        for name, text in texts.items()
    }


def _verdict(asked: Asked, ranking: bool) -> str:
    if asked.change is None:
        return "the method gives no uncertainty: nothing says when to stop"
    what = "changes the best candidate with probability" if ranking else "turns, on average,"
    of = "" if ranking else " of the pool's predictions"
    advice = "settled: stop asking" if asked.settled else "ask on"
    return f"the answer to the first question {what} {percent(asked.change)}{of}: {advice}"
