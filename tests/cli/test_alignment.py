"""Language models on the command line: answers for a user, win rates, annotations."""

from __future__ import annotations

import json
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from palate import PreferenceData
from palate.alignment import endpoint_retry
from tests import toy as world
from tests.cli.conftest import Desk, Palate, Result, write_jsonl
from tests.unit.alignment.stand_in import StandIn, always, drawn_manner, standing_in
from tests.unit.alignment.test_annotators import speak

SHOWN = re.compile(r"<response_\d_\w+>\n(.*?)\n</response_\d_", re.DOTALL)


def toy_speech(body: dict[str, Any], choice: int) -> str:
    """One of the toy's responses; as a judge, the one of the lower number."""
    text = body["messages"][-1]["content"]
    if shown := SHOWN.findall(text):
        return f"Verdict: {1 if shown[0] < shown[1] else 2}"
    draw = random.Random(f"{body['seed']} {choice} {text}")
    return f"response {draw.randrange(world.RESPONSES)} to {text.split()[-1]}"


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    monkeypatch.setattr(endpoint_retry, "FIRST_WAIT", 0.01)
    with standing_in(StandIn(speaker=toy_speech)) as running:
        yield running


@pytest.fixture
def cache(desk: Desk, tmp_path: Path) -> Path:
    """The desk's features, and all of the toy's; requests are kept in it."""
    texts = [
        (f"prompt {number}", f"response {i} to {number}")
        for number in range(world.PROMPTS)
        for i in range(world.RESPONSES)
    ]
    world.fill_cache(tmp_path / "cache", desk.backbone, texts)
    return tmp_path / "cache"


def aligned(palate: Palate, desk: Desk, stand_in: StandIn, cache: Path, *more: object) -> Result:
    words = ["align", desk.run, "--prompt", "prompt 3", "--cache", cache]
    return palate(*words, "--upstream", stand_in.url, "--model", "m", *more)


# -- align ------------------------------------------------------------------------------------


def test_the_table_of_candidates(
    palate: Palate, desk: Desk, stand_in: StandIn, cache: Path, tmp_path: Path
) -> None:
    out = tmp_path / "user.json"
    assert palate(*desk.adapt(out)).code == 0
    told = aligned(palate, desk, stand_in, cache, "--user", out, "--candidates", 16, "--json")
    assert told.code == 0, told.err
    answer = told.json
    rewards = [one["reward"] for one in answer["candidates"]]
    assert rewards == sorted(rewards, reverse=True)
    best = answer["candidates"][0]
    assert best["index"] == answer["chosen"]
    first = next(one for one in answer["candidates"] if one["index"] == 0)
    assert answer["gain"] == pytest.approx(best["reward"] - first["reward"])
    assert sum(one["p_best"] for one in answer["candidates"]) == pytest.approx(1)
    assert answer["removed"] == 16 - len(rewards)
    shown = aligned(palate, desk, stand_in, cache, "--user", out, "--candidates", 16)
    assert len(stand_in.log) == 1  # the second time, from the cache
    assert f"*{best['index']}" in shown.out
    assert f"chosen by mean: candidate {best['index']}\n\n{best['text']}\n" in shown.out
    assert "preferred to it with probability" in shown.out
    assert "16 more candidates are expected to add" in shown.out
    assert f"{answer['removed']} candidates were empty or near copies" in shown.err


@pytest.mark.parametrize("rule", ["mean", "lower", "best"])
def test_rules_and_styles(
    palate: Palate, desk: Desk, stand_in: StandIn, cache: Path, rule: str
) -> None:
    styles = ("--style", "Be brief.", "--style", "Be kind.")
    told = aligned(palate, desk, stand_in, cache, *styles, "--choose", rule, "--json")
    assert told.code == 0, told.err
    assert told.json["rule"] == rule
    systems = [one.body["messages"][0]["content"] for one in stand_in.log]
    assert systems == ["prompt 3", "Be brief.", "Be kind."]
    shown = aligned(palate, desk, stand_in, cache, *styles, "--choose", rule)
    assert "style" in shown.out


def test_what_it_costs_is_said_before_and_after(
    palate: Palate, desk: Desk, stand_in: StandIn, cache: Path
) -> None:
    prices = ("--price-in", 2, "--price-out", 10)
    told = aligned(palate, desk, stand_in, cache, *prices)
    before, after = re.findall(r"cost(?: at most)? (\d+\.\d+)", told.err)
    assert 0 < float(after) <= float(before)
    refused = aligned(palate, desk, stand_in, cache, *prices, "--budget", 1e-6, "--seed", 1)
    assert refused.code == 2
    assert "raise the budget" in refused.err
    assert len(stand_in.log) == 1


def test_fields_of_requests(palate: Palate, desk: Desk, stand_in: StandIn, cache: Path) -> None:
    fields = ("--request", "reasoning_effort=low", "--request", "seed=null")
    stand_in.speaker = lambda body, choice: f"response {choice} to 3"
    told = aligned(palate, desk, stand_in, cache, *fields, "--candidates", 3)
    assert told.code == 0, told.err
    assert stand_in.log[0].body["reasoning_effort"] == "low"
    assert "seed" not in stand_in.log[0].body
    refused = aligned(palate, desk, stand_in, cache, "--request", "user=alice")
    assert refused.code == 2
    assert "parameters hold user" in refused.err


def test_a_slow_endpoint_ends(palate: Palate, desk: Desk, stand_in: StandIn, cache: Path) -> None:
    stand_in.manner = always("late")
    result = aligned(palate, desk, stand_in, cache, "--patience", 0.1)
    assert result.code == 2
    assert "within 0.5 s" in result.err


def test_the_users_file_and_name_stay_here(
    palate: Palate, desk: Desk, stand_in: StandIn, cache: Path, tmp_path: Path
) -> None:
    out = tmp_path / "alice-4711.json"
    palate(*desk.adapt(out))
    aligned(palate, desk, stand_in, cache, "--user", out)
    assert "4711" not in json.dumps([[one.body, one.headers] for one in stand_in.log])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--choose", "worst"), "--choose is 'worst'; expected mean, lower, best"),
        (("--temperature", 3), "--temperature is 3.0; expected 0 to 2"),
        (("--candidates", 0), "--candidates"),
        (("--upstream", "somewhere"), "expected one as http"),
    ],
)
def test_bad_words(
    palate: Palate, desk: Desk, stand_in: StandIn, cache: Path, words: Any, said: str
) -> None:
    result = aligned(palate, desk, stand_in, cache, *words)
    assert result.code == 2
    assert said in result.err
    assert not stand_in.log


def test_an_endpoint_without_a_model(palate: Palate, desk: Desk) -> None:
    result = palate("align", desk.run, "--prompt", "why?", "--upstream", "http://127.0.0.1:9/v1")
    assert result.code == 2
    assert "--upstream needs --model" in result.err


def test_an_endpoint_that_refuses(
    palate: Palate, desk: Desk, stand_in: StandIn, cache: Path
) -> None:
    stand_in.manner = always("unauthorised")
    result = aligned(palate, desk, stand_in, cache)
    assert result.code == 2
    assert "refuses all requests: status 401" in result.err
    assert "Traceback" not in result.err


# -- win rates --------------------------------------------------------------------------------


@pytest.fixture
def people(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Users' answers, their profiles, and prompts."""
    rows = world.rows(users=3, each=8, seed=2)
    profiles = [
        {"user_id": f"user {i}", "profile": f"Likes number {i}.", "system": "Be kind."}
        for i in range(3)
    ]
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("\n".join(f"prompt {number}" for number in range(6)))
    answers = write_jsonl(tmp_path / "answers.jsonl", rows)
    return answers, write_jsonl(tmp_path / "profiles.jsonl", profiles), prompts


def measured(
    palate: Palate, desk: Desk, stand_in: StandIn, cache: Path, people: Any, *more: object
) -> Result:
    answers, profiles, prompts = people
    words = ["bench", "win-rates", desk.run, answers, "--prompts", prompts, "--cache", cache]
    words += ["--profiles", profiles, "--upstream", stand_in.url, "--model", "m"]
    words += ["--judge", "one", "--set", "answers=[2,8]", "--set", "candidates=4"]
    return palate(*words, *more)


def test_win_rates_by_models(
    palate: Palate, desk: Desk, stand_in: StandIn, cache: Path, people: Any, tmp_path: Path
) -> None:
    more = ("--bt", desk.run, "--judge", "two", "--journal", tmp_path / "verdicts.sqlite")
    told = measured(palate, desk, stand_in, cache, people, *more, "--json")
    assert told.code == 0, told.err
    answer = told.json
    lines = {(one["contender"], one["against"]) for one in answer["rates"]}
    ours = ["best-of-4, 2 answers", "best-of-4, 8 answers"]
    others = ["plain", "system prompt", "vrf best-of-4"]
    assert lines == {(one, other) for one in ours for other in others} | {
        ("system prompt", "plain"),
        ("vrf best-of-4", "plain"),
    }
    for one in answer["rates"]:
        assert one["users"] == 3
        assert one["pairs"] == 18
        assert 0 <= one["low"] <= one["mean"] <= one["high"] <= 1
    account = answer["judging"]["account"]
    assert account["asked"] == account["answered"] > 0
    assert {one["first"] for one in answer["judging"]["position"]} == {0.5}
    assert answer["users_left_out"] == 0
    sent = len(stand_in.log)
    shown = measured(palate, desk, stand_in, cache, people, *more)
    assert len(stand_in.log) == sent
    assert "win rates by one at http" in shown.out
    assert f"{account['asked']} known" in shown.out
    assert "50.0% of verdicts for the response shown first" in shown.out
    assert "judging: 0 questions to ask" in shown.err


def test_win_rates_by_true_rewards(
    palate: Palate, desk: Desk, stand_in: StandIn, cache: Path, people: Any, tmp_path: Path
) -> None:
    polite = [0, 0, 0, 0, 1, 0, 1]
    tastes = {f"user {i}": polite for i in range(3)}
    truth = tmp_path / "truth.json"
    truth.write_text(json.dumps({"users": tastes, "alice": {"weights": polite}}))
    answers, _, prompts = people
    words = ["bench", "win-rates", desk.run, answers, "--prompts", prompts, "--cache", cache]
    words += ["--truth", truth, "--upstream", stand_in.url, "--model", "m", "--json"]
    told = palate(*words, "--set", "answers=[8]", "--set", "candidates=4")
    assert told.code == 0, told.err
    assert told.json["judge"] == "rule-world"
    assert told.json["judging"] == {}
    # the toy's responses express no attribute: to these users they are all alike
    assert {(one["mean"], one["ties"]) for one in told.json["rates"]} == {(0.5, 18)}
    assert not any(SHOWN.search(one.body["messages"][-1]["content"]) for one in stand_in.log)
    assert any("polite" in one.body["messages"][0]["content"] for one in stand_in.log)


def test_win_rates_tell_what_failed(
    palate: Palate, desk: Desk, stand_in: StandIn, cache: Path, people: Any
) -> None:
    judging = drawn_manner({"unreadable": 0.5, "bad request": 0.1}, seed=2)
    sampling = drawn_manner({"bad request": 0.2}, seed=2)
    stand_in.manner = lambda body, number: (
        judging(body, number)
        if "<response_1_" in body["messages"][-1]["content"]
        else sampling(body, 0)  # what fails once fails always
    )
    told = measured(palate, desk, stand_in, cache, people, "--json")
    assert told.code == 0, told.err
    account = told.json["judging"]["account"]
    assert account["asked"] == account["answered"] + account["malformed"] + account["failed"]
    assert account["malformed"] > 0
    assert account["failed"] > 0
    assert sum(told.json["unanswered"].values()) > 0
    assert any(one["missing"] for one in told.json["rates"])


def test_a_budget_is_for_all_models_together(
    palate: Palate, desk: Desk, stand_in: StandIn, cache: Path, people: Any
) -> None:
    prices = ("--price-in", 1, "--price-out", 1, "--set", "max_tokens=16")
    told = measured(palate, desk, stand_in, cache, people, *prices, "--judge", "two")
    sampling, judging = (float(cost) for cost in re.findall(r"cost at most (\d+\.\d+)", told.err))
    assert sampling > 0
    assert judging > 0
    sent = len(stand_in.log)
    budget = ("--budget", 0.5 * judging)
    refused = measured(palate, desk, stand_in, cache, people, *prices, "--judge", "two", *budget)
    assert refused.code == 2
    assert "raise the budget" in refused.err
    assert len(stand_in.log) == sent


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--set", "answers=[9]"), "no user gave 9 answers"),
        (("--set", "candidate=9"), "unknown setting candidate"),
        (("--truth", "nothing.json"), "holds no tastes"),
    ],
)
def test_win_rates_of_nothing(
    palate: Palate, desk: Desk, stand_in: StandIn, cache: Path, people: Any, words: Any, said: str
) -> None:
    result = measured(palate, desk, stand_in, cache, people, *words)
    assert result.code == 2
    assert said in result.err


def test_nobody_judges(palate: Palate, desk: Desk, people: Any) -> None:
    answers, _, prompts = people
    result = palate("bench", "win-rates", desk.run, answers, "--prompts", prompts)
    assert result.code == 2
    assert "give --truth truth.json, or --judge MODEL" in result.err


# -- annotations ------------------------------------------------------------------------------


def annotated(palate: Palate, stand_in: StandIn, out: Path, *more: object) -> Result:
    prompts = out.parent / "prompts.txt"
    prompts.write_text("".join(f"what is the number {number}?\n" for number in range(6)))
    words = ["data", "annotate", prompts, "--out", out, "--upstream", stand_in.url]
    return palate(*words, "--model", "m", "--price-in", 1, "--price-out", 2, *more)


def test_an_annotation_that_palate_reads(palate: Palate, stand_in: StandIn, tmp_path: Path) -> None:
    stand_in.speaker = speak
    out = tmp_path / "made"
    dry = annotated(palate, stand_in, out, "--dry")
    assert dry.code == 0
    assert "12 texts to write and 1,008 questions to ask" in dry.err
    assert not stand_in.log
    told = annotated(palate, stand_in, out)
    assert told.code == 0, told.err
    assert len(stand_in.log) == 1020
    assert "1,008 asked, 1,008 answered" in told.out
    assert palate("data", "check", out / "comparisons.jsonl").code == 0
    assert len(PreferenceData.load(out / "comparisons.jsonl")) > 100
    bound, spent = (float(cost) for cost in re.findall(r"cost(?: at most)? (\d+\.\d+)", told.err))
    assert 0 < spent <= bound
    again = annotated(palate, stand_in, out, "--json")
    assert again.json["account"]["known"] == 1008
    assert len(stand_in.log) == 1020


def test_a_stopped_annotation_goes_on(stand_in: StandIn, tmp_path: Path, palate: Palate) -> None:
    stand_in.speaker, stand_in.manner, stand_in.slowness = speak, always("slow"), 0.05
    (tmp_path / "prompts.txt").write_text("why is the sky blue?\n")
    words = ["data", "annotate", tmp_path / "prompts.txt", "--out", tmp_path / "made"]
    words += ["--upstream", stand_in.url, "--model", "m"]
    code = "from palate.cli import main; main()"
    command = [sys.executable, "-c", code, *map(str, words)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while len(stand_in.log) < 30:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    asked = len(stand_in.log)
    assert asked < 170
    assert palate(*words).code == 0
    assert len(stand_in.log) == 170
    assert not any(one.number for one in stand_in.log)


def test_an_annotation_needs_people(palate: Palate, stand_in: StandIn, tmp_path: Path) -> None:
    result = annotated(palate, stand_in, tmp_path / "made", "--protocol", "prism")
    assert result.code == 2
    assert "needs people" in result.err
    result = annotated(palate, stand_in, tmp_path / "made", "--protocol", "opinions")
    assert result.code == 2
