"""Which question to ask a user next, over any posterior that gives weights with a covariance."""

from palate.questions.ask import Asked, ask
from palate.questions.choose import Choice, choose, score
from palate.questions.direction import direction
from palate.questions.rules import RULES
from palate.questions.stopping import chance_of_change, expected_turns

__all__ = [
    "RULES",
    "Asked",
    "Choice",
    "ask",
    "chance_of_change",
    "choose",
    "direction",
    "expected_turns",
    "score",
]
