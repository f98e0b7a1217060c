from __future__ import annotations

import json
from typing import Any

import pytest

from palate.data.benchmarks.prism_roleplay import comparisons_of, read_judgements
from palate.data.benchmarks.role_play import RolePlay, judge, read_people, role_plays
from palate.data.benchmarks.rows import Row
from palate.errors import DataError, SettingsError
from tests.unit.data.benchmarks import official

PAIRS = [("why?", "because", "who knows"), ("how?", "so", "not so")]


def rows(*values: official.Row) -> list[Row]:
    return [Row("survey", number, one) for number, one in enumerate(values, 1)]


def people(count: int = 5) -> Any:
    return read_people(rows(*(official.survey(f"user{i}") for i in range(count))))


def test_a_person_is_described_by_the_survey() -> None:
    (person,) = read_people(rows(official.survey("user7")))
    assert person.user_id == "user7"
    lines = person.description.split("\n")
    assert "Age: 25-34 years old" in lines
    assert "Country of residence: Spain" in lines
    assert "Religion: No Affiliation" in lines
    assert "What matters most to them in a response: factuality, safety, fluency" in lines
    assert "What matters least: creativity" in lines
    assert "In their own words: I value honesty." in lines
    assert "other" not in person.description


def test_answers_that_were_not_given_are_not_told() -> None:
    answers = {"age": None, "religion": None, "stated_prefs": None, "system_string": ""}
    (person,) = read_people(rows(official.survey("user7", **answers)))
    assert "Age" not in person.description
    assert "None" not in person.description
    assert "matters" not in person.description


def test_both_orders_show_the_same_pair() -> None:
    play = RolePlay(people(1)[0], "why {not}?", "because", "who knows")
    assert play.a_first.index("because") < play.a_first.index("who knows")
    assert play.b_first.index("who knows") < play.b_first.index("because")
    assert "why {not}?" in play.a_first
    assert play.person.description in play.b_first


def test_every_pair_is_judged_by_as_many_people_as_asked() -> None:
    plays = list(role_plays(people(), PAIRS, judges=3, seed=1))
    assert len(plays) == 6
    assert len({(p.person.user_id, p.prompt) for p in plays}) == 6
    assert plays == list(role_plays(people(), PAIRS, judges=3, seed=1))
    drawn = {
        tuple(p.person.user_id for p in role_plays(people(), PAIRS, judges=3, seed=s))
        for s in range(5)
    }
    assert len(drawn) > 1
    with pytest.raises(SettingsError, match="judges is 6; expected 1 to 5"):
        list(role_plays(people(), PAIRS, judges=6))


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (("1", "2"), (1.0, 1.0)),  # A both times
        (("2", "1"), (0.0, 0.0)),
        (("Response 1.", "1"), (1.0, 0.0)),  # whichever stands first
        (("1 or 2", "2"), (None, 1.0)),
        (("neither", "12"), (None, None)),
        (("**2**", "It scores 1.5, so: 1"), (0.0, 0.0)),
    ],
)
def test_a_judges_answers_are_read(answers: tuple[str, str], expected: tuple[Any, Any]) -> None:
    given = iter(answers)
    play = RolePlay(people(1)[0], *PAIRS[0])
    row = judge(play, lambda question: next(given))
    assert (row["a_first"], row["b_first"]) == expected


def test_judgements_of_a_judge_are_read_back_as_comparisons() -> None:
    """A judge who likes short responses, and one who always takes the first."""
    shorter = "Response 1:\nso\n"

    def ask(question: str) -> str:
        return "1" if shorter in question else "2" if "not so" in question else "1"

    made = [judge(play, ask) for play in role_plays(people(), PAIRS, judges=5)]
    read = read_judgements(rows(*json.loads(json.dumps(made))))
    comparisons, left_out = comparisons_of(read)
    assert len(comparisons) == 5
    assert {row["chosen"] for row in comparisons} == {"so"}
    assert left_out["judgements that change with the order"] == 5


def test_a_person_twice_is_refused() -> None:
    with pytest.raises(DataError, match="row 3, field 'user_id': 'user0' has answered in row 1"):
        read_people(rows(*(official.survey(f"user{i % 2}") for i in range(3))))


@pytest.mark.parametrize(
    ("answers", "field"),
    [
        ({"user_id": ""}, "user_id"),
        ({"location": "Spain"}, "location"),
        ({"self_description": ["a"]}, "self_description"),
        ({"stated_prefs": {"values": float("nan")}}, "stated_prefs.values"),
        ({"stated_prefs": {"values": 101}}, "stated_prefs.values"),
    ],
)
def test_a_bad_answer_is_named(answers: official.Row, field: str) -> None:
    with pytest.raises(DataError, match=f"row 1, field '{field}'"):
        read_people(rows(official.survey("user0", **answers)))
