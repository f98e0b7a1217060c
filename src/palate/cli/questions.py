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
)
from palate.cli.users import CacheOption, RunArgument

if TYPE_CHECKING:
    from torch import Tensor

    from palate.adaptation import UserProfile
    from palate.model import PersonalRewardModel
    from palate.questions.ask import Asked
    from palate.types import Comparison, Evidence, PairBatch

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
    import torch

    from palate.errors import DataError, Problem
    from palate.model import PersonalRewardModel
    from palate.questions import ask
    from palate.questions.pool import read_pool

    if (candidates is None) != (prompt is None):
        message = "give --candidates and --prompt together: the responses and what they respond to"
        raise DataError([Problem("--candidates", None, None, message)])
    model = PersonalRewardModel.load(run, cache=cache)
    profile = model.new_user() if user is None else model.load_user(user)
    pairs, rows = _open(profile, read_pool(pool), str(pool))
    asked = ask(
        model.method,
        _answers(profile),
        _features(model, pairs),
        rule=rule,
        count=count,
        candidates=_at_stake(model, candidates, prompt),
        generator=torch.Generator().manual_seed(seed),
    )
    if len(asked.choices) < count:
        note(f"note: the pool has {len(asked.choices)} different pairs left to ask")
    told = [(rows[choice.index], pairs[choice.index], choice) for choice in asked.choices]
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
            *(_short(str(text)) for text in _texts(pair).values()),
        )
        for row, pair, choice in told
    ]
    columns = ("row", rule, "P(a over b)", "prompt", "response_a", "response_b")
    print_table(str(pool), columns, table, words=columns[3:])
    typer.echo(_verdict(asked, candidates is not None))


def _open(
    profile: UserProfile, pairs: list[Comparison], name: str
) -> tuple[list[Comparison], list[int]]:
    """The pairs that the user has not answered, and their places in the pool from 1."""
    from palate.adaptation.record import answer_key, opposite
    from palate.errors import DataError, Problem

    keys = [answer_key(pair) for pair in pairs]
    held = profile.record.keys
    rows = [i for i, key in enumerate(keys) if key not in held and opposite(key) not in held]
    if not rows:
        raise DataError([Problem(name, None, None, "the user has answered every pair in it")])
    if len(rows) < len(pairs):
        note(f"note: {len(pairs) - len(rows)} pairs were answered already and are left out")
    return [pairs[i] for i in rows], [i + 1 for i in rows]


def _answers(profile: UserProfile) -> Evidence:
    """What the user has said, each answer counting what the profile's ageing leaves of it."""
    import torch

    from palate.types import Evidence

    record, ageing = profile.record, profile.ageing
    weight = None if ageing is None else ageing.weights(record.answers)
    return Evidence(record.rows, torch.tensor([0, len(record)]), weight)


def _features(model: PersonalRewardModel, pairs: list[Comparison]) -> PairBatch:
    from palate.types import PairBatch

    texts = [(pair.prompt, text) for pair in pairs for text in (pair.chosen, pair.rejected)]
    features = model.reader.encode(texts, progress())
    return PairBatch.of_pairs(features[0::2], features[1::2])


def _at_stake(
    model: PersonalRewardModel, candidates: Path | None, prompt: str | None
) -> Tensor | None:
    from palate.data.candidates import read_candidates, read_prompt

    if candidates is None or prompt is None:
        return None
    return model.reader.responses(read_prompt(prompt), read_candidates(candidates))


def _texts(pair: Comparison) -> dict[str, Any]:
    """A pair's texts by the pool's names; conversations as lists of turns."""
    texts = {"prompt": pair.prompt, "response_a": pair.chosen, "response_b": pair.rejected}
    return {
        name: text if isinstance(text, str) else [vars(turn) for turn in text]
        for name, text in texts.items()
    }


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else f"{line[: SHOWN - 1]}…"


def _verdict(asked: Asked, ranking: bool) -> str:
    if asked.change is None:
        return "the method gives no uncertainty: nothing says when to stop"
    what = "changes the best candidate with probability" if ranking else "turns, on average,"
    of = "" if ranking else " of the pool's predictions"
    advice = "settled: stop asking" if asked.settled else "ask on"
    return f"the answer to the first question {what} {percent(asked.change)}{of}: {advice}"
