"""`palate question`: which pairs to ask next, for people and for programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from palate.questions import RULES
from tests.cli.conftest import CANDIDATES, Desk, Palate, write_jsonl


@pytest.fixture
def pool(desk: Desk, tmp_path: Path) -> Path:
    texts = CANDIDATES
    pairs = [(texts[i], texts[j]) for i in range(4) for j in range(i)]
    rows = [{"prompt": "prompt 3", "response_a": a, "response_b": b} for a, b in pairs]
    return write_jsonl(tmp_path / "pool.jsonl", rows)


def words(desk: Desk, pool: Path, *more: object) -> list[object]:
    return ["question", desk.run, pool, "--cache", desk.cache, *more]


def test_questions_for_people_name_pair_score_probability_and_verdict(
    desk: Desk, palate: Palate, pool: Path
) -> None:
    result = palate(*words(desk, pool, "--count", 2))
    assert result.code == 0, result.err
    assert "response" in result.out
    assert "information" in result.out
    assert "the answer to the first question turns" in result.out


@pytest.mark.parametrize("rule", sorted(RULES))
def test_questions_for_programs(desk: Desk, palate: Palate, pool: Path, rule: str) -> None:
    result = palate(*words(desk, pool, "--count", 3, "--rule", rule, "--json"))
    assert result.code == 0, result.err
    found = result.json
    rows = [question["row"] for question in found["questions"]]
    assert len(set(rows)) == 3
    given = [json.loads(line) for line in pool.read_text().splitlines()]
    for question in found["questions"]:
        assert 0 < question["probability"] < 1
        assert (question["score"] is None) == (rule == "random")
        assert given[question["row"] - 1] == {
            name: question[name] for name in ("prompt", "response_a", "response_b")
        }
    assert found["settled"] == (found["change"] < 0.05)


def test_what_was_answered_is_not_asked_again(desk: Desk, palate: Palate, tmp_path: Path) -> None:
    out = tmp_path / "alice.json"
    assert palate(*desk.adapt(out)).code == 0
    answered = [json.loads(line) for line in desk.answers.read_text().splitlines()]
    turned = [row | {"chosen": row["rejected"], "rejected": row["chosen"]} for row in answered]
    fresh = {"prompt": "prompt 3", "chosen": CANDIDATES[0], "rejected": CANDIDATES[1]}
    known = {(row["prompt"], *sorted([row["chosen"], row["rejected"]])) for row in answered}
    assert ("prompt 3", *sorted(CANDIDATES[:2])) not in known
    pool = write_jsonl(tmp_path / "pool.jsonl", [*answered, *turned, fresh])
    result = palate(*words(desk, pool, "--user", out, "--count", 9, "--json"))
    assert result.code == 0, result.err
    assert [question["row"] for question in result.json["questions"]] == [21]
    assert "20 pairs were answered already" in result.err
    nothing = palate(*words(desk, desk.answers, "--user", out))
    assert (nothing.code, nothing.out) == (2, "")
    assert "answered every pair" in nothing.err


def test_candidates_decide_when_to_stop(desk: Desk, palate: Palate, pool: Path) -> None:
    stake = ("--candidates", desk.candidates, "--prompt", "prompt 3")
    result = palate(*words(desk, pool, *stake))
    assert result.code == 0, result.err
    assert "changes the best candidate with probability" in result.out


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--rule", "bald"), "unknown rule 'bald'"),
        (("--count", 0), "count is 0"),
        (("--prompt", "prompt 3"), "give --candidates and --prompt together"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    desk: Desk, palate: Palate, pool: Path, more: tuple[object, ...], message: str
) -> None:
    result = palate(*words(desk, pool, *more))
    assert (result.code, result.out) == (2, "")
    assert message in result.err
    assert "Traceback" not in result.err


def test_broken_pools_name_the_row(desk: Desk, palate: Palate, tmp_path: Path) -> None:
    result = palate(*words(desk, write_jsonl(tmp_path / "pool.jsonl", [{"prompt": "x"}])))
    assert (result.code, result.out) == (2, "")
    assert "row 1, field 'response_a'" in result.err
