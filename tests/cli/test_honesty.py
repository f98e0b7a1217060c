"""`palate check` reports on answers, and refuses what it cannot read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Desk, Palate, write_jsonl


def given(desk: Desk) -> list[dict[str, Any]]:
    return [json.loads(line) for line in desk.answers.read_text().splitlines()]


def turned(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"chosen": row["rejected"], "rejected": row["chosen"]}


def words(desk: Desk, answers: Path, *more: object) -> list[object]:
    return ["check", desk.run, answers, "--cache", desk.cache, *more]


def test_a_report_on_a_users_answers(desk: Desk, palate: Palate) -> None:
    result = palate(*words(desk, desk.answers, "--json"))
    assert result.code == 0, result.err
    report = result.json
    assert report["predicted"] <= report["consistency"]["answers"] == 10
    assert report["since"] is None or 1 <= report["since"] <= report["raised"] <= 10
    assert report["verdict"]


def test_contradictions_are_careless_and_the_exit_code_is_still_0(
    desk: Desk, palate: Palate, tmp_path: Path
) -> None:
    rows = given(desk)
    file = write_jsonl(tmp_path / "careless.jsonl", rows + [turned(row) for row in rows])
    result = palate(*words(desk, file, "--json"))
    assert result.code == 0
    assert result.json["consistency"]["verdict"] == "careless"
    printed = palate(*words(desk, file))
    assert printed.code == 0
    assert "as if at random" in printed.out
    assert "careless" in printed.out


def test_the_same_answers_again_are_careful(desk: Desk, palate: Palate, tmp_path: Path) -> None:
    rows = given(desk)
    result = palate(*words(desk, write_jsonl(tmp_path / "again.jsonl", rows * 3), "--json"))
    consistency = result.json["consistency"]
    assert consistency["share"] == 1.0
    assert consistency["verdict"] == "careful"


@pytest.mark.parametrize("rate", ["0", "1", "-0.1", "nan"])
def test_rates_out_of_range_are_refused(desk: Desk, palate: Palate, rate: str) -> None:
    result = palate(*words(desk, desk.answers, "--rate", rate))
    assert (result.code, result.out) == (2, "")
    assert "--rate" in result.err


def test_answers_of_two_users_are_refused(desk: Desk, palate: Palate, tmp_path: Path) -> None:
    rows = [row | {"user_id": f"u{i % 2}"} for i, row in enumerate(given(desk))]
    result = palate(*words(desk, write_jsonl(tmp_path / "two.jsonl", rows)))
    assert result.code == 2
    assert "2 users" in result.err
