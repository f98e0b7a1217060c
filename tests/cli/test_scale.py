"""`palate scale`: the same as one user at a time, through the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests import toy
from tests.cli.conftest import CANDIDATES, Desk, Palate, write_jsonl
from tests.cli.test_bad_input import assert_refused
from tests.unit.scale.worlds import read, write


@pytest.fixture
def comparisons(tmp_path: Path) -> Path:
    return write(tmp_path / "comparisons.parquet", toy.rows())


def scale(desk: Desk, command: str, *words: object) -> list[object]:
    """In this process, without Ray."""
    return ["scale", command, desk.run, *words, "--cache", desk.cache, "--workers", 0]


def one_user(desk: Desk, palate: Palate, comparisons: Path, user: str) -> Path:
    """A user's file by `palate adapt`."""
    rows = [row for row in pq.read_table(comparisons).to_pylist() if row["user_id"] == user]
    answers = write_jsonl(comparisons.parent / "answers.jsonl", rows)
    out = comparisons.parent / "user.json"
    assert palate(*desk.adapt(out, answers)).code == 0
    return out


def test_encode_adapt_score_are_as_adapt_and_rank(
    desk: Desk, palate: Palate, comparisons: Path, tmp_path: Path
) -> None:
    features, users, rewards = (tmp_path / name for name in ("features", "users", "rewards"))
    result = palate(*scale(desk, "encode", comparisons, "--out", features, "--json"))
    assert result.code == 0, result.err
    assert result.json["kind"] == "features"
    assert result.json["counts"]["texts"] == len(read(features))
    words = ("--features", features, "--parts", 3, "--json")
    result = palate(*scale(desk, "adapt", comparisons, "--out", users, *words))
    assert result.code == 0, result.err
    assert result.json["counts"]["users"] == 12
    rows = [{"user_id": "user 3", "prompt": "prompt 3", "response": text} for text in CANDIDATES]
    asked = write(tmp_path / "asked.parquet", rows)
    words = ("--users", users, "--out", rewards, "--json")
    result = palate(*scale(desk, "score", asked, *words))
    assert result.code == 0, result.err
    user = one_user(desk, palate, comparisons, "user 3")
    (found,) = [row for row in read(users).to_pylist() if row["user_id"] == "user 3"]
    assert found["mean"] == pytest.approx(json.loads(user.read_text())["mean"], abs=1e-5)
    ranked = palate(*desk.rank("--user", user, "--json")).json["candidates"]
    table = read(rewards).sort_by("row").to_pylist()
    for candidate in ranked:
        row = table[candidate["index"]]
        assert row["reward"] == pytest.approx(candidate["reward"], abs=1e-4)
        assert row["sd"] == pytest.approx(candidate["sd"], abs=1e-4)
        assert row["answers"] == found["answers"]


def test_features_are_encoded_beside_the_users(
    desk: Desk, palate: Palate, comparisons: Path, tmp_path: Path
) -> None:
    words = scale(desk, "adapt", comparisons, "--out", tmp_path / "users", "--parts", 2)
    first = palate(*words)
    assert first.code == 0, first.err
    assert "users in " in first.out
    assert (tmp_path / "users" / "features" / "manifest.json").is_file()
    again = palate(*words, "--json")
    assert (again.json["already"], again.json["parts"]) == (2, 2)


def test_help_of_the_group(palate: Palate) -> None:
    assert "encode" in palate("scale", "--help").out


def missing_column(folder: Path) -> Path:
    rows = [{"user_id": "a", "prompt": "b", "chosen": "c"}]
    return write(folder / "input.parquet", rows)


def nobody(folder: Path) -> Path:
    schema = pa.schema(
        [(name, pa.string()) for name in ("user_id", "prompt", "chosen", "rejected")]
    )
    pq.write_table(schema.empty_table(), folder / "input.parquet")
    return folder / "input.parquet"


def no_parquet(folder: Path) -> Path:
    return write_jsonl(folder / "input.jsonl", toy.rows(users=1, each=2))


INPUTS: dict[str, tuple[Any, list[str]]] = {
    "a column": (missing_column, ["field 'rejected': column is missing", "found user_id, prompt"]),
    "nobody": (nobody, ["input.parquet: holds no row, so nobody's answers"]),
    "no Parquet": (no_parquet, ["input.jsonl: not a whole Parquet file"]),
    "nothing": (lambda folder: folder / "none.parquet", ["none.parquet: no such file"]),
    "an empty folder": (lambda folder: folder, ["holds no .parquet file"]),
}


@pytest.mark.parametrize("case", INPUTS)
@pytest.mark.parametrize("command", ["encode", "adapt"])
def test_inputs_that_cannot_be_used(
    case: str, command: str, desk: Desk, palate: Palate, tmp_path: Path
) -> None:
    make, fragments = INPUTS[case]
    (tmp_path / "in").mkdir()
    out = tmp_path / "out"
    result = palate(*scale(desk, command, make(tmp_path / "in"), "--out", out))
    assert_refused(result, *fragments)
    assert not out.exists()


def test_folders_that_cannot_be_used(
    desk: Desk, palate: Palate, comparisons: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("years")
    for command in ("encode", "adapt"):
        result = palate(*scale(desk, command, comparisons, "--out", mine))
        assert_refused(result, "is not empty and holds no manifest.json, so nothing of ours")
    assert [path.name for path in mine.iterdir()] == ["thesis.tex"]
    words = ("--features", mine, "--out", tmp_path / "out")
    result = palate(*scale(desk, "adapt", comparisons, *words))
    assert_refused(result, "holds no features: name a folder that `palate scale encode` wrote")
    words = ("--users", mine, "--features", mine, "--out", tmp_path / "out")
    asked = write(tmp_path / "asked.parquet", [{"user_id": "a", "prompt": "b", "response": "c"}])
    assert_refused(palate(*scale(desk, "score", asked, *words)), "holds no users")


def test_another_models_users_and_features(
    desk: Desk, palate: Palate, comparisons: Path, tmp_path: Path
) -> None:
    other, users = tmp_path / "other", tmp_path / "users"
    assert palate(*desk.train(other, "--method", "bt")).code == 0
    assert palate(*scale(desk, "adapt", comparisons, "--out", users, "--parts", 2)).code == 0
    words = ["scale", "adapt", other, comparisons, "--out", users, "--workers", 0]
    features = ("--features", users / "features")
    result = palate(*words, *features, "--parts", 2)
    assert_refused(result, "holds another job (model: was", "; method: was vrf, is bt")
    asked = write(tmp_path / "asked.parquet", [{"user_id": "a", "prompt": "b", "response": "c"}])
    words = ["scale", "score", other, asked, "--users", users, "--out", tmp_path / "rewards"]
    assert_refused(palate(*words, *features, "--workers", 0), "the users in", "are of model")


@pytest.mark.filterwarnings("ignore::DeprecationWarning:ray")
def test_nobody_at_the_address(
    desk: Desk, palate: Palate, comparisons: Path, tmp_path: Path
) -> None:
    words = ["scale", "encode", desk.run, comparisons, "--out", tmp_path / "out"]
    for address in ("127.0.0.1:1", "ray://127.0.0.1:1"):
        result = palate(*words, "--address", address)
        assert_refused(result, f"no Ray cluster at {address}", "leave --address out")
