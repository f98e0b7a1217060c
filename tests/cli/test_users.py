"""A user's answers on the command line: taken back, combined from two devices, aged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Desk, Palate, write_jsonl
from tests.cli.test_bad_input import assert_refused

DAY = 86400


def lines(desk: Desk) -> list[dict[str, Any]]:
    return [json.loads(line) for line in desk.answers.read_text().splitlines()]


def timed(desk: Desk, folder: Path) -> Path:
    """The answers, one a day from the first of January 2026."""
    rows = [row | {"timestamp": f"2026-01-{i + 1:02}"} for i, row in enumerate(lines(desk))]
    return write_jsonl(folder / "timed.jsonl", rows)


def adapted(palate: Palate, desk: Desk, out: Path, answers: Path, *more: object) -> Any:
    result = palate(*desk.adapt(out, answers, "--json", *more))
    assert result.code == 0, result.err
    return result.json


def test_withdrawn_answers_leave_the_posterior_of_the_others(
    desk: Desk, palate: Palate, tmp_path: Path
) -> None:
    rows = lines(desk)
    some = write_jsonl(tmp_path / "some.jsonl", rows[:3])
    rest = write_jsonl(tmp_path / "rest.jsonl", rows[3:])
    user, others = tmp_path / "alice.json", tmp_path / "others.json"
    before = adapted(palate, desk, user, desk.answers)
    expected = adapted(palate, desk, others, rest)
    words = ("withdraw", desk.run, some, "--user", user, "--out", user)
    summary = palate(*words, "--json").json
    assert summary["answers"] == expected["answers"]
    assert summary["taken_back"] == before["answers"] - expected["answers"] > 0
    assert summary["mean"] == pytest.approx(expected["mean"], abs=1e-5)
    assert json.loads(user.read_text())["mean"] == summary["mean"]
    left = user.read_bytes()
    result = palate(*words, "--json")
    assert_refused(result, "to withdraw was withdrawn already", "only answers that stand")
    assert user.read_bytes() == left
    assert adapted(palate, desk, user, some, "--user", user)["answers"] == before["answers"]


def test_what_is_withdrawn_is_one_users(desk: Desk, palate: Palate, tmp_path: Path) -> None:
    user = tmp_path / "alice.json"
    adapted(palate, desk, user, desk.answers)
    words = ("withdraw", desk.run, desk.comparisons, "--user", user, "--out", user)
    assert_refused(palate(*words), str(desk.comparisons), "answers of 12 users")
    missing = palate("withdraw", desk.run, desk.answers, "--user", tmp_path / "b", "--out", user)
    assert_refused(missing, "cannot be read")


def test_two_devices_are_combined(desk: Desk, palate: Palate, tmp_path: Path) -> None:
    rows = lines(desk)
    phone, laptop, both = (tmp_path / name for name in ("phone.json", "laptop.json", "both.json"))
    adapted(palate, desk, phone, write_jsonl(tmp_path / "first.jsonl", rows[:6]))
    adapted(palate, desk, laptop, write_jsonl(tmp_path / "last.jsonl", rows[4:]))
    whole = adapted(palate, desk, tmp_path / "whole.json", desk.answers)
    summary = palate("combine", desk.run, phone, laptop, "--out", both, "--json").json
    assert summary["answers"] == whole["answers"]
    assert summary["mean"] == pytest.approx(whole["mean"], abs=1e-5)
    kept = both.read_bytes()
    assert palate("combine", desk.run, laptop, phone, "--out", both).code == 0
    assert both.read_bytes() == kept


def test_devices_of_another_model_are_refused(desk: Desk, palate: Palate, tmp_path: Path) -> None:
    phone, other = tmp_path / "phone.json", tmp_path / "other"
    adapted(palate, desk, phone, desk.answers)
    assert palate(*desk.train(other, "--method", "bt")).code == 0
    result = palate("combine", other, phone, phone, "--out", tmp_path / "both.json")
    assert_refused(result, f"{phone} belongs to model", "adapt again from the user's answers")
    assert not (tmp_path / "both.json").exists()


def test_answers_age_by_their_timestamps(desk: Desk, palate: Palate, tmp_path: Path) -> None:
    """A half-life of no length to speak of leaves the newest answer alone."""
    answers, user = timed(desk, tmp_path), tmp_path / "alice.json"
    whole = adapted(palate, desk, user, answers)
    last = write_jsonl(tmp_path / "last.jsonl", lines(desk)[-1:])
    newest = adapted(palate, desk, tmp_path / "last.json", last)
    aged = adapted(palate, desk, user, answers, "--half-life", 0.01, "--now", "2026-01-10")
    assert aged["answers"] == whole["answers"]
    assert aged["mean"] == pytest.approx(newest["mean"], abs=1e-4)
    assert aged["ageing"]["half_life"] == pytest.approx(0.01 * DAY)
    slow = adapted(palate, desk, user, answers, "--half-life", 1e9, "--now", "2026-01-10")
    assert slow["mean"] == pytest.approx(whole["mean"], abs=1e-4)
    assert whole["ageing"] is None


def test_ranking_ages_and_leaves_the_file(desk: Desk, palate: Palate, tmp_path: Path) -> None:
    answers, user = timed(desk, tmp_path), tmp_path / "alice.json"
    adapted(palate, desk, user, answers)
    kept = user.read_bytes()

    def rewards(*more: object) -> list[float]:
        result = palate(*desk.rank("--json", *more))
        assert result.code == 0, result.err
        ordered = sorted(result.json["candidates"], key=lambda candidate: candidate["index"])
        return [candidate["reward"] for candidate in ordered]

    of_user, of_all = rewards("--user", user), rewards()
    assert rewards("--user", user, "--half-life", 1e9) == pytest.approx(of_user, abs=1e-4)
    # By the clock everything is long ago.
    assert rewards("--user", user, "--half-life", 1e-3) == pytest.approx(of_all, abs=1e-4)
    between = rewards("--user", user, "--half-life", 2, "--now", "2026-01-10T00:00:00Z")
    assert between != pytest.approx(of_user, abs=1e-4)
    assert user.read_bytes() == kept
    adapted(palate, desk, user, answers, "--half-life", 2, "--now", "2026-01-10")
    assert rewards("--user", user) == pytest.approx(between, abs=1e-5)
    later = rewards("--user", user, "--now", str(4 * 10**9))
    assert later == pytest.approx(of_all, abs=1e-4)


BAD_WORDS: dict[str, tuple[list[object], list[str]]] = {
    "no time": (["--half-life", 3], ["10 of 10 answers have no time", "timestamp"]),
    "backwards": (["--half-life", -3], ["--half-life: -3 days; expected more than 0"]),
    "no number": (["--half-life", "nan"], ["--half-life: nan days"]),
    "endless": (["--half-life", "inf"], ["the half-life is inf"]),
    "no date": (["--half-life", 3, "--now", "soon"], ["--now: expected seconds or a date"]),
    "no half-life": (["--now", "2026-01-10"], ["--now: nothing ages; give --half-life too"]),
}


@pytest.mark.parametrize("case", BAD_WORDS)
def test_ageing_that_makes_no_sense(case: str, desk: Desk, palate: Palate, tmp_path: Path) -> None:
    words, fragments = BAD_WORDS[case]
    user, out = tmp_path / "alice.json", tmp_path / "out.json"
    count = adapted(palate, desk, user, desk.answers)["answers"]
    assert count == 10
    assert_refused(palate(*desk.adapt(out, None, *words)), *fragments)
    assert_refused(palate(*desk.rank("--user", user, *words)), *fragments)
    assert_refused(palate("combine", desk.run, user, user, "--out", out, *words), *fragments)
    assert not out.exists()


def test_the_population_does_not_age(desk: Desk, palate: Palate) -> None:
    assert_refused(palate(*desk.rank("--half-life", 3)), "--half-life: the population does not age")
