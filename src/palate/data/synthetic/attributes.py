"""The seven attributes of a response and the two directions of each."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Attribute:
    """A trait of a text: +1 is its positive direction, -1 its negative one, 0 not expressed."""

    name: str
    positive: str
    negative: str

    def direction(self, sign: int) -> str:
        """The adjective for `sign`, which is +1 or -1."""
        return self.positive if sign > 0 else self.negative


ATTRIBUTES: tuple[Attribute, ...] = (
    Attribute("length", "verbose", "concise"),
    Attribute("formality", "formal", "informal"),
    Attribute("humour", "humorous", "serious"),
    Attribute("elicitation", "engaging", "unengaging"),
    Attribute("politeness", "polite", "rude"),
    Attribute("enthusiasm", "enthusiastic", "demure"),
    Attribute("confidence", "confident", "uncertain"),
)

LENGTH, FORMALITY, HUMOUR, ELICITATION, POLITENESS, ENTHUSIASM, CONFIDENCE = range(7)
