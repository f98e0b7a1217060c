"""What `data check` counts, against counting one by one; and that it lists every problem."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palate import PreferenceData
from palate.data.checks import inspect_file, summarise
from tests import toy as world
from tests.unit.data.formats import CONVERSATIONS, TEXTS, Row, jsonl

few_rows = st.lists(
    st.fixed_dictionaries(
        {
            "user_id": st.sampled_from("abc"),
            "prompt": st.sampled_from(["p", "q"]),
            "chosen": st.sampled_from(["one", "two words", "and three words", " x  y "]),
            "rejected": st.sampled_from(["one", "two words", "and three words"]),
            "group": st.sampled_from("gh"),
        }
    ).filter(lambda row: row["chosen"] != row["rejected"]),
    min_size=1,
    max_size=25,
)


def naive(rows: list[Row]) -> dict[str, Any]:
    """The numbers of a summary, counted row by row."""
    per_user: dict[str, int] = {}
    askers: dict[Any, set[str]] = {}
    choices: dict[Any, set[str]] = {}
    answers = set()
    repeated = 0
    for row in rows:
        user = row["user_id"]
        per_user[user] = per_user.get(user, 0) + 1
        pair = (row["prompt"], frozenset((row["chosen"], row["rejected"])))
        askers.setdefault(pair, set()).add(user)
        choices.setdefault((user, pair), set()).add(row["chosen"])
        repeated += (user, pair, row["chosen"]) in answers
        answers.add((user, pair, row["chosen"]))
    responses = {row[side] for row in rows for side in ("chosen", "rejected")}
    return {
        "comparisons": len(rows),
        "users": len(per_user),
        "comparisons_per_user": spread(list(per_user.values())),
        "prompts": len({row["prompt"] for row in rows}),
        "responses": len(responses),
        "words_per_response": spread([len(text.split()) for text in responses]),
        "distinct_pairs": len(askers),
        "shared_pairs": sum(len(users) > 1 for users in askers.values()),
        "repeated": repeated,
        "contradictory": sum(len(chosen) > 1 for chosen in choices.values()),
        "groups": len({row["group"] for row in rows}),
    }


def spread(counts: list[int]) -> dict[str, Any]:
    return {
        "least": min(counts),
        "median": statistics.median(counts),
        "mean": pytest.approx(statistics.mean(counts)),
        "most": max(counts),
    }


def as_dict(summary: Any) -> dict[str, Any]:
    return {
        name: vars(value) if hasattr(value, "least") else value
        for name, value in vars(summary).items()
    }


@given(few_rows)
@settings(max_examples=200)
def test_the_summary_is_what_counting_gives(rows: list[Row]) -> None:
    summary = as_dict(summarise(PreferenceData.load(rows)))
    assert summary == naive(rows) | {"other_columns": ()}


@given(few_rows, st.data())
@settings(max_examples=100)
def test_the_summary_of_some_rows_is_of_those_alone(rows: list[Row], draw: st.DataObject) -> None:
    count = st.integers(0, len(rows) - 1)
    kept = sorted(draw.draw(st.sets(count, min_size=1)))
    part = PreferenceData.load(rows).select(np.array(kept))
    assert as_dict(summarise(part)) == naive([rows[i] for i in kept]) | {"other_columns": ()}


def test_words_of_conversations_are_those_of_all_turns() -> None:
    assert summarise(PreferenceData.load(CONVERSATIONS)).words_per_response.most == 1


def checked(rows: list[Any], folder: Path) -> dict[str, Any]:
    path = folder / "a.jsonl"
    path.write_bytes(jsonl(rows))
    report = inspect_file(path)
    content = report.to_json()
    assert content["ok"] == report.sound == (not content["problems"])
    assert content["file"] == str(path)
    json.dumps(content, allow_nan=False)
    return content


def test_a_sound_file(tmp_path: Path) -> None:
    content = checked([row | {"time": 1, "note": ""} for row in world.rows()], tmp_path)
    assert content["ok"]
    assert content["summary"]["comparisons"] == 288
    assert content["summary"]["other_columns"] == ("time", "note")


def test_every_problem_is_listed_and_the_rest_summed_up(tmp_path: Path) -> None:
    bad: list[Any] = [
        {"user_id": "", "prompt": "p", "chosen": 1, "rejected": "x", "weight": 1},
        [1, 2],
        {"prompt": "p", "chosen": "x", "rejected": "x", "weight": -1, "user_id": "u"},
        {"user_id": "u", "prompt": "p", "chosen": "x", "rejected": "x", "weight": 1},
        {},
    ]
    content = checked([*bad, *(row | {"weight": 1} for row in world.rows())], tmp_path)
    places = [(problem["row"], problem["field"]) for problem in content["problems"]]
    assert places == [
        (1, "user_id"),
        (1, "chosen"),
        (2, None),
        (3, "weight"),
        (4, "rejected"),
        *((5, field) for field in ("user_id", "prompt", "chosen", "rejected", "weight")),
    ]
    assert content["summary"]["comparisons"] == 288


UNFIT: dict[str, tuple[list[Row], str]] = {
    "one user": ([row | {"user_id": "me"} for row in world.rows()], "one user only"),
    "few rows": (TEXTS, "no unseen users possible"),
}


@pytest.mark.parametrize(("rows", "message"), UNFIT.values(), ids=UNFIT.keys())
def test_what_no_split_can_use_is_a_problem(rows: list[Row], message: str, tmp_path: Path) -> None:
    content = checked([*rows, {"user_id": "x", "prompt": ""}], tmp_path)
    assert message in content["problems"][-1]["message"]
    assert content["problems"][-1]["field"] == "user_id"
    assert len(content["problems"]) == 4
    assert content["summary"]["comparisons"] == len(rows)


def test_nothing_that_can_be_summed_up(tmp_path: Path) -> None:
    content = checked([{"prompt": ""}], tmp_path)
    assert content["summary"] is None
    assert len(content["problems"]) == 4
