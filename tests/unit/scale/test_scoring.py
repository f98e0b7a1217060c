"""Rewards of rows, equal to those of one user and one machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from palate import PersonalRewardModel, UserProfile
from palate.errors import DataError, ScaleError
from palate.scale.adapting import adapt_job
from palate.scale.job import Here, Outcome, run_job
from palate.scale.scoring import score_job
from tests.unit.scale.worlds import METHODS, Bench, Models, part_bytes, read, state, states, write


def adapted(bench: Bench, out: Path, run: Path | None = None) -> Path:
    run_job(adapt_job(run or bench.run, bench.comparisons, out, bench.features, parts=3), Here())
    return out


@pytest.fixture(scope="session")
def users(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return adapted(bench, tmp_path_factory.mktemp("users") / "users")


def scored(bench: Bench, users: Path, out: Path, **changes: Any) -> Outcome:
    given: dict[str, Any] = {"input_path": bench.candidates, "features": bench.features}
    given |= {"run": bench.run, **changes}
    return run_job(score_job(users=users, out=out, **given), Here())


def expect(bench: Bench, model: PersonalRewardModel, row: dict[str, Any]) -> None:
    """As `adapt` and `reward` give it."""
    prompts = model.method.settings.reads_prompts
    profile: UserProfile | None = None
    if row["user_id"] in bench.data.user_ids:
        profile = model.adapt(states(bench.of(row["user_id"]))[: 3 if prompts else 2])
    prompt = state(row["prompt"]) if prompts else None
    text = state(row["prompt"], row["response"])
    expected = model.reward(prompt, text[None], profile)
    assert row["reward"] == pytest.approx(float(expected.mean), abs=1e-4)
    assert row["answers"] == (len(profile.answers) if profile else 0)
    if expected.sd is None:
        assert row["sd"] is None
    else:
        assert row["sd"] == pytest.approx(float(expected.sd), abs=1e-4)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_scores_as_on_one_machine(
    name: str, bench: Bench, models: Models, out: Path, tmp_path: Path
) -> None:
    model, run = models[name], models.run(name)
    users = adapted(bench, tmp_path / "users", run)
    scored(bench, users, out, run=run)
    rows = read(out).sort_by("row").to_pylist()
    given = pq.read_table(bench.candidates).to_pylist()
    assert [{name: row[name] for name in given[0]} for row in rows] == given
    assert [row["row"] for row in rows] == list(range(len(given)))
    for row in rows[:41:5] + rows[40:41]:
        expect(bench, model, row)


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("parts", [1, 3, 7, 30])
def test_parts_change_no_reward(parts: int, bench: Bench, users: Path, out: Path) -> None:
    outcome = scored(bench, users, out, parts=parts)
    assert outcome.parts % 3 == 0
    assert outcome.parts >= parts
    assert outcome.counts == {"rows": 960, "of_unknown_users": 23}
    rows = read(out).sort_by("row")
    assert rows["row"].to_pylist() == list(range(960))
    for row in rows.to_pylist()[::200]:
        expect(bench, bench.model, row)


def test_chunks_change_no_reward(
    bench: Bench, users: Path, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored(bench, users, out)
    monkeypatch.setattr("palate.scale.rewards.CHUNK", 7)
    scored(bench, users, tmp_path / "chunks")
    one, other = (read(folder).sort_by("row") for folder in (out, tmp_path / "chunks"))
    for name in ("reward", "sd"):
        torch.testing.assert_close(*(torch.tensor(t[name].to_pylist()) for t in (one, other)))


def test_only_strangers(bench: Bench, users: Path, out: Path, tmp_path: Path) -> None:
    rows = [{"user_id": "nobody", "prompt": "prompt 3", "response": "response 1 to 3"}]
    outcome = scored(bench, users, out, input_path=write(tmp_path / "a.parquet", rows))
    assert outcome.counts == {"rows": 1, "of_unknown_users": 1}
    expect(bench, bench.model, read(out).to_pylist()[0])


def test_users_of_another_model(bench: Bench, models: Models, users: Path, out: Path) -> None:
    with pytest.raises(ScaleError, match=f"are of model {bench.model.identity[:12]}"):
        scored(bench, users, out, run=models.run("pref"))
    with pytest.raises(ScaleError, match="holds no users"):
        scored(bench, bench.features, out)
    assert not out.exists()


def test_users_that_changed_are_another_job(
    bench: Bench, users: Path, out: Path, tmp_path: Path
) -> None:
    scored(bench, users, out)
    before = part_bytes(out)
    again = tmp_path / "users"
    run_job(adapt_job(bench.run, bench.comparisons, again, bench.features, parts=1), Here())
    with pytest.raises(ScaleError, match="users: was"):
        scored(bench, again, out)
    assert part_bytes(out) == before


def test_faulty_candidates(bench: Bench, users: Path, out: Path, tmp_path: Path) -> None:
    rows = pq.read_table(bench.candidates).to_pylist()[:50]
    rows[30]["response"], rows[7]["user_id"], rows[9]["prompt"] = None, "", " "
    with pytest.raises(DataError) as error:
        scored(bench, users, out, input_path=write(tmp_path / "a.parquet", rows, group=20))
    assert [(p.row, p.field) for p in error.value.problems] == [
        (8, "user_id"),
        (10, "prompt"),
        (31, "response"),
    ]


def test_files_of_unlike_types(bench: Bench, users: Path, out: Path, tmp_path: Path) -> None:
    """Wide strings become those of the first file; a conversation cannot."""
    rows = pq.read_table(bench.candidates).slice(0, 10)
    folder = tmp_path / "input"
    folder.mkdir()
    pq.write_table(rows, folder / "a.parquet")
    wide = pa.schema([(name, pa.large_string()) for name in rows.column_names])
    pq.write_table(rows.cast(wide), folder / "b.parquet")
    assert scored(bench, users, out, input_path=folder).counts["rows"] == 20
    turns = {"user_id": "a", "prompt": [{"role": "user", "content": "b"}], "response": "c"}
    write(folder / "b.parquet", [turns])
    with pytest.raises(DataError, match="the first file's string: write them alike"):
        scored(bench, users, tmp_path / "other", input_path=folder)
