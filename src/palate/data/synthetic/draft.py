"""A response in the making."""

from dataclasses import dataclass, field

from palate.data.synthetic.content import Point
from palate.data.synthetic.wording import capitalised

# Reading order around the points: a greeting comes first, thanks and a question last.
OPENING = ("formality", "politeness", "enthusiasm", "humour", "confidence", "elicitation", "length")
CLOSING = ("length", "confidence", "humour", "enthusiasm", "formality", "politeness", "elicitation")


@dataclass
class Draft:
    """A response in the making: its points and what stands before, between and after them."""

    points: tuple[Point, ...]
    sentences: list[str]
    brief: bool
    opens: dict[str, str] = field(default_factory=dict)
    closes: dict[str, str] = field(default_factory=dict)
    asides: dict[int, str] = field(default_factory=dict)
    framed: set[int] = field(default_factory=set)
    phrases: set[str] = field(default_factory=set)

    def text(self) -> str:
        """All sentences in reading order."""
        pieces = [self.opens[name] for name in OPENING if name in self.opens]
        for index, sentence in enumerate(self.sentences):
            pieces += [sentence, self.asides.get(index, "")]
        pieces += [self.closes[name] for name in CLOSING if name in self.closes]
        return " ".join(capitalised(piece) for piece in pieces if piece)
