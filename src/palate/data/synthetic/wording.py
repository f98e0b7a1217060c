"""Small rules of English: capitals, frames around a sentence, formal and informal wording."""

import re
from collections.abc import Iterable
from functools import cache

from palate.data.synthetic.content import load_content

# "that's what it is." must not become "it's.", nor "all there is to say" "all there's to say".
NOT_BEFORE_A_STOP = r"(?![.,;:!?]| to\b)"


def capitalised(text: str) -> str:
    """The text with its first letter as a capital."""
    return text[0].upper() + text[1:]


def framed(frame: str, sentence: str, proper: frozenset[str]) -> str:
    """The frame with the sentence in the place of {s}; the full stop moves to the end."""
    inner = sentence.rstrip(".")
    if inner.split()[0] not in proper:
        inner = inner[0].lower() + inner[1:]
    whole = frame.replace("{s}", inner)
    return whole if whole[-1] in ".!?" else whole + "."


def exclaimed(sentence: str) -> str:
    """The sentence with an exclamation mark in the place of its full stop."""
    return sentence[:-1] + "!" if sentence.endswith(".") else sentence


class Rewording:
    """Replaces whole words and phrases by their pair, longest first, keeping capitals."""

    def __init__(self, pairs: Iterable[tuple[str, str]], ending: str = "") -> None:
        self._pairs = {left.lower(): right for left, right in pairs}
        longest_first = sorted(self._pairs, key=len, reverse=True)
        words = "|".join(re.escape(left) for left in longest_first)
        self._pattern = re.compile(rf"(?:(?<![\w'])|(?=,))(?:{words})(?![\w']){ending}", re.I)

    def __call__(self, text: str) -> str:
        """The text with every left side replaced by its right side."""
        return self._pattern.sub(self._replace, text)

    def _replace(self, match: re.Match[str]) -> str:
        right = self._pairs[match[0].lower()]
        return capitalised(right) if match[0][0].isupper() else right


@cache
def rewordings(formality: int) -> tuple[Rewording, ...]:
    """The rules that turn plain wording formal (+1) or informal (-1); none for 0."""
    content = load_content()
    if formality > 0:
        return Rewording(content.contractions), Rewording(content.formal)
    if formality < 0:
        contract = ((long, short) for short, long in content.contractions)
        return Rewording(content.informal), Rewording(contract, NOT_BEFORE_A_STOP)
    return ()


def in_register(text: str, formality: int) -> str:
    """The text in the wording of its formality, -1, 0 or +1."""
    for reword in rewordings(formality):
        text = reword(text)
    return text
