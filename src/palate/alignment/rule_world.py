"""The Attributes world's own judge: it reads the traits of any text, generated ones too.

The world knows the attributes of the responses that it wrote. Of free text they are read by the
world's rules backwards: sentences and openings of sentences are looked up among the phrases of the
fourteen voices, in the three registers, and what is no phrase is a point of the answer.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from palate.data.synthetic.attributes import ATTRIBUTES, LENGTH
from palate.data.synthetic.content import Voice, load_content
from palate.data.synthetic.wording import framed, in_register
from palate.data.synthetic.writer import TOPIC
from palate.errors import DataError
from palate.types import Text

#: An answer of one point is concise, of this many or more verbose.
VERBOSE_POINTS = 5
#: What stands in the place of a topic: anything within a sentence.
ANY_TOPIC = r"[^.!?\n]{2,80}?"
SENTENCE_END = re.compile(r"[.!?]+(?=\s|$)")
FIRST_WORD = re.compile(r"[\w']+")


@dataclass(frozen=True)
class Phrase:
    """A voice's phrase: `frame` where a point follows it in the same sentence."""

    direction: str
    pattern: re.Pattern[str]
    frame: bool


@dataclass(frozen=True)
class Reading:
    """What a text says: phrases by direction, and its distinct points."""

    phrases: Mapping[str, int]
    points: tuple[str, ...]

    @property
    def attributes(self) -> tuple[int, ...]:
        """(7,) each -1, 0 or +1: the direction with more phrases; length is the points'."""
        signs = [
            int(np.sign(self.phrases.get(a.positive, 0) - self.phrases.get(a.negative, 0)))
            for a in ATTRIBUTES
        ]
        points = len(self.points)
        signs[LENGTH] = int(points >= VERBOSE_POINTS) - int(points == 1)
        return tuple(signs)


def read(text: str) -> Reading:
    """The phrases and points of a text, sentence by sentence."""
    phrases: Counter[str] = Counter()
    points: dict[str, None] = {}
    start = 0
    while start < len(text):
        found = next(_phrases_at(text, start), None)
        after = start
        if found is not None:
            phrase, after = found
            phrases[phrase.direction] += 1
        if found is None or phrase.frame:
            end = SENTENCE_END.search(text, after)
            stop = len(text) if end is None else end.end()
            point = text[after:stop].strip(" .!?").lower()
            after = max(stop, after)
            if point:
                points[point] = None
        start = after + len(text[after:]) - len(text[after:].lstrip())
    return Reading(dict(phrases), tuple(points))


def attributes_of(text: Text) -> tuple[int, ...]:
    """(7,) the attributes that a response expresses, each -1, 0 or +1."""
    return read(_plain(text)).attributes


def true_rewards(prompt: Text, responses: Sequence[Text], user: ArrayLike) -> Tensor:
    """(n,) the true rewards of responses for a user with true weights (7,), -2 to +2.

    The prompt is not read: the world's rewards are of manner alone. Raises `DataError` for weights
    of another shape.
    """
    del prompt
    weights = torch.as_tensor(np.asarray(user, dtype=np.float32))
    if weights.shape != (len(ATTRIBUTES),):
        raise DataError(
            f"true weights are {tuple(weights.shape)}; expected ({len(ATTRIBUTES)},), one an "
            "attribute of the world"
        )
    read_off = [attributes_of(response) for response in responses]
    return torch.tensor(read_off, dtype=torch.float32).reshape(-1, len(ATTRIBUTES)) @ weights


class RuleWorldJudge:
    """Says whom a user of the world prefers, by the true reward: no model is asked."""

    name = "rule-world"

    def __init__(self, weights: Mapping[str, ArrayLike]) -> None:
        """weights: a user's true weights (7,) by id."""
        self.weights = dict(weights)

    def rewards(self, user_id: str, prompt: Text, responses: Sequence[Text]) -> Tensor:
        """(n,) the user's true rewards; raises `DataError` for a user who is not of the world."""
        if user_id not in self.weights:
            raise DataError(
                f"{user_id!r} is not among the {len(self.weights)} users of the world whose true "
                "weights are known"
            )
        return true_rewards(prompt, responses, self.weights[user_id])

    def prefers_first(self, user_id: str, prompt: Text, first: Text, second: Text) -> float:
        """1 where the user prefers the first response, 0 the second, 1/2 for equal rewards."""
        one, other = self.rewards(user_id, prompt, [first, second]).tolist()
        return 0.5 if one == other else float(one > other)


# -- the phrases --------------------------------------------------------------------------------


def _phrases_at(text: str, start: int) -> Iterator[tuple[Phrase, int]]:
    """Phrases that begin at a place, the longest first, and where each ends."""
    word = FIRST_WORD.match(text, start)
    for phrase in _phrase_table().get(word[0] if word else "", ()):
        if match := phrase.pattern.match(text, start):
            yield phrase, match.end()


@cache
def _phrase_table() -> dict[str, tuple[Phrase, ...]]:
    """All phrases in all registers by their first word, whole sentences and long ones first."""
    found: dict[str, dict[str, Phrase]] = defaultdict(dict)
    for direction, wording, frame in _wordings():
        for register in (0, 1, -1):
            text = in_register(wording, register)
            pattern = ANY_TOPIC.join(map(re.escape, text.split(TOPIC)))
            word = FIRST_WORD.match(text)
            key = word[0] if word else ""
            found[key].setdefault(pattern, Phrase(direction, re.compile(pattern), frame))
    return {
        word: tuple(sorted(by.values(), key=lambda p: (p.frame, -len(p.pattern.pattern))))
        for word, by in found.items()
    }


def _wordings() -> Iterator[tuple[str, str, bool]]:
    """(direction, wording, whether a point follows) of every voice and subject."""
    content = load_content()
    for direction, voice in content.voices.items():
        for sentence in (*voice.opens, *voice.asides, *voice.closes):
            yield direction, sentence, False
        for frame in _frames(voice):
            yield direction, frame.partition("{s}")[0].rstrip(), True
    for subject in content.subjects:
        yield from (("humorous", joke, False) for joke in subject.jokes)
        for lead in content.voices["engaging"].leads:
            for question in subject.questions:
                yield "engaging", framed(lead, question, content.proper), False


def _frames(voice: Voice) -> tuple[str, ...]:
    return voice.says + voice.facts + voice.tips


def _plain(text: Text) -> str:
    return text if isinstance(text, str) else "\n".join(turn.content for turn in text)
