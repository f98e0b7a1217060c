"""Feedback as the answers that it comes to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

from palate.service.http.errors import ApiError, invalid
from palate.service.http.feedback_schema import ComparisonIn, Feedback, RankingIn, Said, ThumbIn
from palate.service.http.schema import Turn, text_of
from palate.service.store import Completion, NewAnswer
from palate.types import Comparison, Text

Given = int | str | list[Turn]
#: A preference: chosen, rejected, what it counts.
Side = tuple[Text, Text, float]


def answers_of(said: Feedback, served: Completion | None) -> list[NewAnswer]:
    """The answers of one piece of feedback; raises `ApiError` (422) where it says nothing.

    A thumb up prefers what was served to each of the n - 1 other candidates, which together count
    as one answer; a thumb down the other way round. An order of n is n - 1 choices of the best of
    what is left (Plackett 1975), and its n (n - 1) / 2 pairs count so much together.
    """
    prompt = _prompt(said, served)
    tie = isinstance(said, ComparisonIn) and said.tie
    answers = []
    for chosen, rejected, share in _sides(said, served):
        try:
            pair = Comparison(prompt, chosen, rejected)
        except ValueError:
            raise invalid("the same text twice says nothing of a taste") from None
        weight = said.weight * share
        id = None if served is None else served.id
        answers.append(NewAnswer(pair, weight, tie, said.time, said.type, id))
    return answers


def _prompt(said: Feedback, served: Completion | None) -> Text:
    own = None if isinstance(said, ThumbIn) else said.prompt
    if served is not None:
        if own is not None:
            raise invalid("give completion_id or prompt, not both", "prompt")
        return served.prompt
    if own is None:
        raise invalid("there is no prompt; give `prompt`, or `completion_id`", "prompt")
    return text_of(own)


def _sides(said: Said, served: Completion | None) -> Iterator[Side]:
    if isinstance(said, ComparisonIn):
        yield _text(said.chosen, served, "chosen"), _text(said.rejected, served, "rejected"), 1.0
    elif isinstance(said, RankingIn):
        texts = [_text(one, served, "order") for one in said.order]
        for better, worse in combinations(texts, 2):
            yield better, worse, 2 / len(texts)
    elif isinstance(said, ThumbIn):
        assert served is not None
        yield from _thumb(said, served)


def _thumb(said: ThumbIn, served: Completion) -> Iterator[Side]:
    own = _text(said.choice, served, "choice")
    others = list(dict.fromkeys(text for text in served.candidates if text != own))
    if not others:
        raise invalid(
            "the completion had no other candidate, so that a thumb says nothing; ask for more "
            "with best_of, or send a comparison",
            "completion_id",
        )
    for other in others:
        pair = (own, other) if said.value == "up" else (other, own)
        yield (*pair, 1 / len(others))


def _text(given: Given, served: Completion | None, field: str) -> Text:
    if not isinstance(given, int):
        return text_of(given)
    if served is None:
        raise invalid(f"{field} is a place, of no completion; give its completion_id", field)
    return _candidate(served.candidates, given, field)


def _candidate(candidates: Sequence[Text], place: int, field: str) -> Text:
    if place >= len(candidates):
        message = f"{field} is {place}; the completion had {len(candidates)} candidates, from 0"
        raise ApiError(422, "invalid_value", message, param=field)
    return candidates[place]
