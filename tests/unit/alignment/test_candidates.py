"""Candidates: what is asked for in which style, and which of them are one."""

from dataclasses import dataclass, field

import pytest

from palate.alignment.candidates import distinct, draw_candidates
from palate.alignment.policy import Request, Sampled
from palate.errors import PolicyError


@dataclass
class Parrot:
    """Says what it was asked, and remembers it."""

    name: str = "parrot"
    asked: list[Request] = field(default_factory=list)

    def sample(self, request: Request) -> Sampled:
        self.asked.append(request)
        texts = tuple(f"{request.system} {request.seed} {i}" for i in range(request.count))
        return Sampled(texts, 10, 5 * request.count)


@dataclass
class Says:
    """Says the same each time."""

    texts: tuple[str, ...]
    name: str = "says"

    def sample(self, request: Request) -> Sampled:
        return Sampled(self.texts[: request.count], 1, 1)


def test_without_styles_the_request_is_asked_as_it_is() -> None:
    parrot, request = Parrot(), Request("Why?", count=4, seed=7)
    drawn = draw_candidates(parrot, request)
    assert parrot.asked == [request]
    assert drawn.texts == [f"None 7 {i}" for i in range(4)]
    assert (drawn.prompt_tokens, drawn.completion_tokens, drawn.removed) == (10, 20, 0)


def test_styles_take_turns_and_the_first_answer_is_plain() -> None:
    drawn = draw_candidates(Parrot(), Request("Why?", count=5), ["Be formal.", "Be brief."])
    styles = [candidate.style for candidate in drawn.candidates]
    assert styles == [None, "Be formal.", "Be brief.", None, "Be formal."]
    assert drawn.prompt_tokens == 30
    assert drawn.completion_tokens == 25


def test_a_style_stands_behind_the_system_prompt() -> None:
    parrot = Parrot()
    draw_candidates(parrot, Request("Why?", count=2, system="You are kind."), ["Be brief."])
    assert [one.system for one in parrot.asked] == ["You are kind.", "You are kind.\nBe brief."]


def test_styles_are_written_with_seeds_of_their_own() -> None:
    parrot = Parrot()
    draw_candidates(parrot, Request("Why?", count=3, seed=4), ["a", "b", "a"])
    assert [(one.count, one.seed) for one in parrot.asked] == [(1, 4), (1, 5), (1, 6)]


def test_more_styles_than_answers_leave_some_out() -> None:
    parrot = Parrot()
    draw_candidates(parrot, Request("Why?", count=2), ["a", "b", "c"])
    assert [one.system for one in parrot.asked] == [None, "a"]


def test_near_duplicates_and_empty_answers_are_left_out_and_counted() -> None:
    words = "one two three four five six seven eight nine ten eleven twelve"
    texts = (words, words.upper() + "!", "", "  ", words + " thirteen", "something else")
    drawn = draw_candidates(Says(texts), Request("Why?", count=6))
    assert drawn.texts == [words, "something else"]
    assert drawn.removed == 4


def test_nothing_but_empty_answers_is_an_error() -> None:
    with pytest.raises(PolicyError, match="gave 2 empty answers"):
        draw_candidates(Says(("", " \n")), Request("Why?", count=2))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Use vinegar.", "use  VINEGAR", True),
        ("Use vinegar.", "Use lemon.", False),
        ("a b c d e f", "f e d c b a", False),
        ("👍", "👍", True),
        ("👍", "👎", False),
        ("?!", "use", False),
        ("日本語", "日本", False),
        ("Straße", "STRASSE", True),
    ],
)
def test_what_counts_as_one_text(one: str, other: str, same: bool) -> None:
    assert (distinct([one, other]) == [0]) is same


def test_the_first_of_near_duplicates_stays() -> None:
    assert distinct(["", "a b c", "x y z", "A B C"]) == [1, 2]
    assert distinct([]) == []
