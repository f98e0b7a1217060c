"""PRISM's utterances, and the pairs made of them: best against worst of each interaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from palate.data.benchmarks.rows import Row, is_list_as_text, parse_rows, require_columns
from palate.errors import DataError, Problem

COLUMNS = (
    "interaction_id",
    "conversation_id",
    "user_id",
    "turn",
    "within_turn_id",
    "included_in_balanced_subset",
    "user_prompt",
    "model_response",
    "score",
    "if_chosen",
)
#: More than one response in so many a list written as text: not the official copy.
TOLERATED_ONE_IN = 1000

LIST = "responses that are a list written as text"
EMPTY = "responses that are empty"
ALONE = "interactions with fewer than two usable responses"
TIE = "interactions with equal highest and lowest score"
SAME = "interactions whose best and worst response are one text"
BROKEN = "interactions after a turn without one chosen response"

Turn = dict[str, str]


@dataclass(frozen=True)
class Utterance:
    """A response with its score (1 to 100), and the turn of a conversation that it belongs to."""

    interaction: str
    conversation: str
    user: str
    turn: int
    place: int
    balanced: bool
    prompt: str
    response: str
    score: float
    chosen: bool


@dataclass(frozen=True)
class Pair:
    """Best against worst response of an interaction; `prompt` is the conversation so far."""

    user: str
    conversation: str
    turn: int
    prompt: tuple[Turn, ...]
    chosen: str
    rejected: str


def read_utterances(rows: Sequence[Row]) -> list[Utterance]:
    """All utterances. Raises `DataError` for a bad row, or one that contradicts another."""
    require_columns(rows, COLUMNS)
    utterances = parse_rows(rows, _utterance)
    problems = []
    turn_of: dict[str, tuple[str, int, str]] = {}
    user_of: dict[str, str] = {}
    for row, one in zip(rows, utterances, strict=True):
        turn = (one.conversation, one.turn, one.prompt)
        if turn_of.setdefault(one.interaction, turn) != turn:
            fault = f"{one.interaction!r} is another conversation, turn or prompt in an earlier row"
            problems.append(Problem(row.file, row.number, "interaction_id", fault))
        if user_of.setdefault(one.conversation, one.user) != one.user:
            fault = f"the conversation {one.conversation!r} is another user's in an earlier row"
            problems.append(Problem(row.file, row.number, "user_id", fault))
    if problems:
        raise DataError(problems)
    _refuse_lists(rows, utterances)
    return utterances


def make_pairs(utterances: Sequence[Utterance], left_out: Counter[str]) -> list[Pair]:
    """One pair an interaction, where there is one; what is left out is counted by its reason."""
    interactions: dict[tuple[str, int], list[Utterance]] = {}
    for one in utterances:
        interactions.setdefault((one.conversation, one.turn), []).append(one)
    pairs = []
    for key in sorted(interactions):
        usable = _usable(interactions[key], left_out)
        prompt = _conversation_so_far(interactions, *key)
        reason = _no_pair(usable) or (BROKEN if prompt is None else None)
        if reason is not None or prompt is None:
            left_out[str(reason)] += 1
            continue
        best, worst = _best_and_worst(usable)
        user = usable[0].user
        pairs.append(Pair(user, *key, prompt, best.response, worst.response))
    return pairs


def _utterance(row: Row) -> Utterance:
    return Utterance(
        interaction=row.name("interaction_id"),
        conversation=row.name("conversation_id"),
        user=row.name("user_id"),
        turn=row.whole("turn", 0),
        place=row.whole("within_turn_id", 0),
        balanced=row.flag("included_in_balanced_subset"),
        prompt=row.string("user_prompt"),
        response=row.string("model_response"),
        score=row.number_of("score", 1, 100),
        chosen=row.flag("if_chosen"),
    )


def _refuse_lists(rows: Sequence[Row], utterances: Sequence[Utterance]) -> None:
    """A person may be answered with a list now and then; a copy full of them is another one."""
    fault = (
        "a list of texts written as one string, as in a public preparation of this data, which "
        "gives the answer away; bring the official copy"
    )
    lists = [
        Problem(row.file, row.number, "model_response", fault)
        for row, one in zip(rows, utterances, strict=True)
        if is_list_as_text(one.response)
    ]
    if len(lists) * TOLERATED_ONE_IN > len(utterances):
        raise DataError(lists)


def _usable(responses: Sequence[Utterance], left_out: Counter[str]) -> list[Utterance]:
    """The responses that are a text, in the order of their places."""
    usable = []
    for one in sorted(responses, key=lambda one: one.place):
        if is_list_as_text(one.response):
            left_out[LIST] += 1
        elif not one.response.strip():
            left_out[EMPTY] += 1
        else:
            usable.append(one)
    return usable


def _best_and_worst(usable: Sequence[Utterance]) -> tuple[Utterance, Utterance]:
    """Of equal scores the one that the user went on with, then the first."""
    ranked = sorted(usable, key=lambda one: (-one.score, not one.chosen, one.place))
    lowest = min(one.score for one in usable)
    return ranked[0], next(one for one in usable if one.score == lowest)


def _no_pair(usable: Sequence[Utterance]) -> str | None:
    """Why the responses of an interaction give no pair; None if they give one."""
    if len(usable) < 2 or not usable[0].prompt.strip():
        return ALONE
    best, worst = _best_and_worst(usable)
    if best.score == worst.score:
        return TIE
    return SAME if best.response == worst.response else None


def _conversation_so_far(
    interactions: dict[tuple[str, int], list[Utterance]], conversation: str, turn: int
) -> tuple[Turn, ...] | None:
    """What was said up to the user's prompt of this turn; None where a turn before it is broken."""
    turns: list[Turn] = []
    for earlier in range(turn):
        chosen = [one for one in interactions.get((conversation, earlier), ()) if one.chosen]
        if len(chosen) != 1 or not (chosen[0].response.strip() and chosen[0].prompt.strip()):
            return None
        turns.append({"role": "user", "content": chosen[0].prompt})
        turns.append({"role": "assistant", "content": chosen[0].response})
    prompt = interactions[conversation, turn][0].prompt
    return (*turns, {"role": "user", "content": prompt})
