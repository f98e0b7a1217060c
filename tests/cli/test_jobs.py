"""The five commands do what they say, and with --json print one object and nothing else."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest

from palate import PersonalRewardModel
from tests import toy as world
from tests.cli.conftest import CANDIDATES, Desk, Palate, Result, write_jsonl


def done(result: Result) -> Any:
    """The one object that a command printed."""
    assert result.code == 0, result.err
    assert result.out.startswith("{\n")
    assert result.out.endswith("\n}\n")
    assert result.out.isascii()
    return result.json


# -- train ----------------------------------------------------------------------------------------


def test_training_reports_what_it_used(desk: Desk, palate: Palate, tmp_path: Path) -> None:
    report = done(palate(*desk.train(tmp_path / "run", "--json", "--method", "bt")))
    assert report["method"] == "bt"
    assert report["model"] == str(tmp_path / "run")
    assert report["data"]["comparisons"] == 288
    split = report["split"]
    uses = ("train", "reference", "evaluation", "straddling", "of_users_with_too_few")
    assert sum(split[use] for use in uses) == 288
    loaded = PersonalRewardModel.load(tmp_path / "run")
    assert loaded.identity == report["identity"]
    assert loaded.report["split"] == split


def test_the_seed_decides_the_model(desk: Desk, palate: Palate, tmp_path: Path) -> None:
    identities = [
        done(palate(*desk.train(tmp_path / str(i), "--json", "--method", "bt", "--seed", seed)))
        for i, seed in enumerate([3, 3, 4])
    ]
    one, two, other = (report["identity"] for report in identities)
    assert one == two
    assert one != other


def test_groups_are_held_out_where_asked(desk: Desk, palate: Palate, tmp_path: Path) -> None:
    rows = [row | {"group": row["prompt"]} for row in world.rows()]
    file = write_jsonl(tmp_path / "grouped.jsonl", rows)
    words = ("--split", "groups", "--method", "bt", "--json")
    report = done(palate(*desk.train(tmp_path / "run", *words, file=file)))
    assert report["split"]["kind"] == "groups"
    assert report["split"]["straddling"] == 0


def test_overwriting_leaves_the_new_model_alone(desk: Desk, palate: Palate, tmp_path: Path) -> None:
    out = Path(shutil.copytree(desk.run, tmp_path / "run"))
    (out / "evaluation.json").write_text("of the old model")
    before = PersonalRewardModel.load(out).identity
    report = done(palate(*desk.train(out, "--overwrite", "--json", "--method", "bt")))
    assert report["identity"] != before
    assert PersonalRewardModel.load(out).identity == report["identity"]
    assert list(tmp_path.iterdir()) == [out]
    assert not (out / "evaluation.json").exists()


# -- evaluate -------------------------------------------------------------------------------------


def test_evaluation_has_the_figures_that_are_promised(
    desk: Desk, palate: Palate, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(desk.run, tmp_path / "run"))
    figures = done(palate("evaluate", run, "--cache", desk.cache, "--json"))
    assert figures["method"] == "vrf"
    for part in ("seen", "unseen"):
        assert 0 <= figures[part]["accuracy"] <= 1
        assert figures[part]["standard_error"] >= 0
        assert figures[part]["users"] == 6
    assert figures["overall"] == pytest.approx(
        (figures["seen"]["accuracy"] + figures["unseen"]["accuracy"]) / 2
    )
    assert figures["log_loss"] > 0
    assert 0 <= figures["calibration_error"] <= 1
    assert all(int(count) >= 0 for count in figures["few_shot"])
    assert json.loads((run / "evaluation.json").read_text()) == figures
    assert PersonalRewardModel.load(run).identity


def test_evaluation_on_other_comparisons_leaves_the_model_as_it_is(
    desk: Desk, palate: Palate, tmp_path: Path
) -> None:
    file = write_jsonl(tmp_path / "other.jsonl", world.rows()[:-1])
    before = world.contents(desk.run)
    words = ("evaluate", desk.run, "--data", file, "--cache", desk.cache, "--json")
    assert done(palate(*words))["method"] == "vrf"
    assert world.contents(desk.run) == before


# -- adapt ----------------------------------------------------------------------------------------


def adapted(palate: Palate, desk: Desk, out: Path, answers: Path, *more: object) -> Any:
    summary = done(palate(*desk.adapt(out, answers, "--json", *more)))
    saved = json.loads(out.read_text())
    assert {name: saved[name] for name in ("mean", "sd", "weights", "uncertainty")} == {
        name: summary[name] for name in ("mean", "sd", "weights", "uncertainty")
    }
    return summary


def test_adapting_in_parts_equals_adapting_at_once(
    desk: Desk, palate: Palate, tmp_path: Path
) -> None:
    lines = [json.loads(line) for line in desk.answers.read_text().splitlines()]
    first = write_jsonl(tmp_path / "first.jsonl", lines[:4])
    rest = write_jsonl(tmp_path / "rest.jsonl", lines[4:])
    whole = adapted(palate, desk, tmp_path / "whole.json", desk.answers)
    user = tmp_path / "alice.json"
    half = adapted(palate, desk, user, first)
    joined = adapted(palate, desk, user, rest, "--user", user)
    assert half["answers"] == 4
    assert joined["answers"] == whole["answers"] == whole["new"]
    assert half["new"] + joined["new"] == whole["new"]
    for name in ("mean", "sd", "weights", "weights_sd"):
        assert joined[name] == pytest.approx(whole[name], abs=1e-5)
    assert joined["uncertainty"] < half["uncertainty"]


def test_an_answer_given_again_is_counted_and_changes_nothing(
    desk: Desk, palate: Palate, tmp_path: Path
) -> None:
    user = tmp_path / "alice.json"
    before = adapted(palate, desk, user, desk.answers)
    result = palate(*desk.adapt(user, None, "--json", "--user", user))
    again = done(result)
    assert again["new"] == 0
    assert again["repeated"] == 10
    assert again["mean"] == before["mean"]
    assert again["answers"] == before["answers"]
    assert "10 answers were known already" in result.err


def test_contradictory_answers_count_and_are_reported(
    desk: Desk, palate: Palate, tmp_path: Path
) -> None:
    line = json.loads(desk.answers.read_text().splitlines()[0])
    swapped = line | {"chosen": line["rejected"], "rejected": line["chosen"]}
    file = write_jsonl(tmp_path / "both.jsonl", [line, swapped])
    result = palate(*desk.adapt(tmp_path / "alice.json", file, "--json"))
    assert done(result)["answers"] == 2
    assert "contradict" in result.err


# -- rank -----------------------------------------------------------------------------------------


def ranked(result: Result, count: int) -> list[dict[str, Any]]:
    candidates = done(result)["candidates"]
    rewards = [candidate["reward"] for candidate in candidates]
    assert rewards == sorted(rewards, reverse=True)
    assert sorted(candidate["index"] for candidate in candidates) == list(range(count))
    assert math.fsum(candidate["p_best"] for candidate in candidates) == pytest.approx(1, abs=1e-4)
    assert all(candidate["sd"] >= 0 for candidate in candidates)
    return list(candidates)


def test_candidates_are_ranked_by_reward(desk: Desk, palate: Palate, tmp_path: Path) -> None:
    user = tmp_path / "alice.json"
    adapted(palate, desk, user, desk.answers)
    of_user = ranked(palate(*desk.rank("--user", user, "--json")), len(CANDIDATES))
    of_all = ranked(palate(*desk.rank("--json")), len(CANDIDATES))
    rewards = [{c["index"]: c["reward"] for c in candidates} for candidates in (of_user, of_all)]
    assert rewards[0] != rewards[1]
    model = PersonalRewardModel.load(desk.run, cache=desk.cache)
    expected = model.rank("prompt 3", CANDIDATES, model.load_user(user))
    assert [candidate["index"] for candidate in of_user] == expected.order


def test_equal_candidates_keep_their_order(desk: Desk, palate: Palate, tmp_path: Path) -> None:
    file = tmp_path / "same.txt"
    file.write_text("\n".join([CANDIDATES[0]] * 3))
    same = ranked(palate(*desk.rank("--json", candidates=file)), 3)
    assert [candidate["index"] for candidate in same] == [0, 1, 2]
    assert len({candidate["p_best"] for candidate in same}) == 1


def test_one_candidate_is_certainly_the_best(desk: Desk, palate: Palate, tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "one.jsonl", [{"response": CANDIDATES[2]}])
    [only] = ranked(palate(*desk.rank("--json", candidates=file)), 1)
    assert only["p_best"] == pytest.approx(1)


# -- for people -----------------------------------------------------------------------------------


def test_without_json_there_are_tables(desk: Desk, palate: Palate, tmp_path: Path) -> None:
    run = Path(shutil.copytree(desk.run, tmp_path / "run"))
    user = tmp_path / "alice.json"
    shown = {
        "comparisons per user": palate("data", "check", desk.comparisons),
        "comparisons that train": palate(*desk.train(tmp_path / "new", "--method", "bt")),
        "unseen": palate("evaluate", run, "--cache", desk.cache),
        "basis": palate(*desk.adapt(user)),
        "p_best": palate(*desk.rank("--user", user)),
    }
    for word, result in shown.items():
        assert result.code == 0
        assert word in result.out
    assert "response 1 to 3" in shown["p_best"].out


def test_long_steps_show_progress_apart_from_the_output(
    desk: Desk, palate: Palate, tmp_path: Path
) -> None:
    result = palate(*desk.train(tmp_path / "run", "--method", "bt", "--json"))
    assert "training bt" in result.err
    done(result)


def test_checking_a_sound_file(desk: Desk, palate: Palate) -> None:
    content = done(palate("data", "check", desk.comparisons, "--json"))
    assert content["ok"] is True
    assert content["problems"] == []
    assert content["summary"]["users"] == 12
    told = palate("data", "check", desk.comparisons)
    assert told.out.endswith("no problem found\n")
    assert told.err == ""


def test_texts_of_any_script_are_printed(desk: Desk, palate: Palate, tmp_path: Path) -> None:
    rows = [row | {"素晴らしい\ud83d": 1} for row in world.rows()]
    file = write_jsonl(tmp_path / "é.jsonl", rows)
    content = done(palate("data", "check", file, "--json"))
    assert content["file"] == str(file)
    assert content["summary"]["other_columns"] == ["素晴らしい\ud83d"]
    assert "素晴らしい" in palate("data", "check", file).out
