"""Writes a response to a subject with given attributes, by rules and without a model."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from palate.data.synthetic.attributes import ATTRIBUTES, ENTHUSIASM, FORMALITY, LENGTH
from palate.data.synthetic.content import Content, Subject, Voice
from palate.data.synthetic.draft import Draft
from palate.data.synthetic.wording import exclaimed, framed, in_register

POINTS = {-1: (1, 1), 0: (2, 3), 1: (5, 6)}  # fewest and most points of an answer, by length
PHRASES = {-1: 1, 0: 2, 1: 3}  # how many phrases a trait gets: a longer answer dilutes it
MARKED = 0.6  # share of concise answers that say so ("In short: ...")
EXCLAIMED = 0.4  # share of an enthusiastic answer's plain points that end in "!"
ROOM = 2  # most phrases before the points, and after them
TOPIC = "{topic}"


class Writer:
    """Writes responses to one subject; every draw comes from the given generator."""

    def __init__(self, content: Content, subject: Subject, rng: np.random.Generator) -> None:
        self._rng = rng
        self._subject = subject
        self._proper = content.proper
        self._voices = dict(content.voices)
        self._add("humorous", "asides", subject.jokes)
        leads = content.voices["engaging"].leads
        asked = (framed(lead, q, content.proper) for lead in leads for q in subject.questions)
        self._add("engaging", "closes", tuple(asked))

    def _add(self, direction: str, kind: str, phrases: tuple[str, ...]) -> None:
        voice = self._voices[direction]
        self._voices[direction] = replace(voice, **{kind: getattr(voice, kind) + phrases})

    def write(self, attributes: Sequence[int]) -> str:
        """A response that has the attributes (7,), each -1, 0 or +1."""
        draft = self._draft(attributes[LENGTH])
        self._set_length(draft, attributes[LENGTH])
        used: set[tuple[str, int]] = set()
        for _ in range(PHRASES[attributes[LENGTH]]):
            for index, sign in enumerate(attributes):
                if sign and index != LENGTH:
                    self._express(draft, index, sign, used)
        if attributes[ENTHUSIASM] > 0:
            self._exclaim(draft)
        return in_register(draft.text(), attributes[FORMALITY])

    def _draft(self, length: int) -> Draft:
        pool = self._subject.shorts if length < 0 else self._subject.points
        count = int(self._rng.integers(*POINTS[length], endpoint=True))
        drawn = sorted(self._rng.permutation(len(pool))[:count])
        points = tuple(pool[index] for index in drawn)
        return Draft(points, [point.text for point in points], brief=length < 0)

    def _set_length(self, draft: Draft, length: int) -> None:
        if length < 0 and self._rng.random() < MARKED:
            self._frame(draft, "length", self._voices["concise"])
        if length > 0:
            voice = self._voices["verbose"]
            around = self._open if self._rng.random() < 0.5 else self._close
            for place in (around, self._aside, self._frame, self._frame):
                place(draft, "length", voice)

    def _express(self, draft: Draft, index: int, sign: int, used: set[tuple[str, int]]) -> None:
        """Adds one phrase of the direction, in a place that it has not used and that has room."""
        name = ATTRIBUTES[index].name
        voice = self._voices[ATTRIBUTES[index].direction(sign)]
        places: tuple[Callable[[Draft, str, Voice], bool], ...]
        places = (self._open, self._close, self._aside, self._frame)
        for place in self._rng.permutation(len(places)):
            if (name, place) not in used and places[place](draft, name, voice):
                used.add((name, place))
                return

    def _open(self, draft: Draft, name: str, voice: Voice) -> bool:
        return self._put(draft, draft.opens, name, voice.opens)

    def _close(self, draft: Draft, name: str, voice: Voice) -> bool:
        return self._put(draft, draft.closes, name, voice.closes)

    def _put(self, draft: Draft, side: dict[str, str], name: str, phrases: tuple[str, ...]) -> bool:
        if len(side) >= ROOM:
            return False
        side[name] = self._choose(draft, phrases)
        return True

    def _aside(self, draft: Draft, name: str, voice: Voice) -> bool:
        # None after the last point: that is the place of the closing phrases.
        free = [i for i in range(len(draft.points) - 1) if i not in draft.asides]
        if not free:
            return False
        draft.asides[self._pick(free)] = self._choose(draft, voice.asides)
        return True

    def _frame(self, draft: Draft, name: str, voice: Voice) -> bool:
        # "Beyond that, ..." has nothing to refer to in the first sentence.
        first = 1 if voice is self._voices["verbose"] else 0
        free = [i for i in range(first, len(draft.points)) if i not in draft.framed]
        if not free:
            return False
        index = self._pick(free)
        frame = self._choose(draft, voice.frames(draft.points[index]))
        draft.sentences[index] = framed(frame, draft.sentences[index], self._proper)
        draft.framed.add(index)
        return True

    def _exclaim(self, draft: Draft) -> None:
        for index, sentence in enumerate(draft.sentences):
            if index not in draft.framed and self._rng.random() < EXCLAIMED:
                draft.sentences[index] = exclaimed(sentence)

    def _choose(self, draft: Draft, phrases: tuple[str, ...]) -> str:
        """A phrase that is new to the draft; of the shorter half, if that is to be brief."""
        if draft.brief:
            phrases = tuple(sorted(phrases, key=len)[: (len(phrases) + 1) // 2])
        # The topic is named once: "limescale" in every other phrase reads like a form letter.
        named = any(TOPIC in phrase for phrase in draft.phrases)
        new = [p for p in phrases if p not in draft.phrases and not (named and TOPIC in p)]
        phrase = new[self._pick(range(len(new)))]
        draft.phrases.add(phrase)
        return phrase.replace(TOPIC, self._subject.topic)

    def _pick(self, items: Sequence[int]) -> int:
        return items[int(self._rng.integers(len(items)))]
