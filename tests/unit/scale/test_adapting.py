"""Everybody's posterior, equal to what one machine and one user at a time give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from palate import PersonalRewardModel
from palate.errors import DataError, ScaleError
from palate.features.cache import text_key
from palate.scale import adapting
from palate.scale.adapting import adapt_job, rows_of_part
from palate.scale.features import write_features
from palate.scale.folder import read_manifest
from palate.scale.job import Here, Outcome, run_job
from palate.scale.loaded import model_of
from palate.types import UserPosterior
from tests import toy
from tests.unit.scale.worlds import (
    METHODS,
    Bench,
    Models,
    part_bytes,
    read,
    states,
    write,
    write_many,
    write_states,
)


def adapted(bench: Bench, out: Path, **changes: Any) -> Outcome:
    given: dict[str, Any] = {"input_path": bench.comparisons, "features": bench.features}
    given |= {"run": bench.run, "parts": 5, **changes}
    return run_job(adapt_job(out=out, **given), Here())


def expect(row: dict[str, Any], posterior: UserPosterior) -> None:
    assert row["mean"] == pytest.approx(posterior.mean[0].tolist(), abs=1e-5)
    assert row["answers"] == int(posterior.answers[0])
    for name in ("variance", "covariance"):
        value = getattr(posterior, name)
        if value is None:
            assert row[name] is None
        else:
            assert row[name] == pytest.approx(value[0].flatten().tolist(), abs=1e-5)


def test_every_user_is_as_one_machine_adapts_to_her(bench: Bench, out: Path) -> None:
    outcome = adapted(bench, out)
    rows = {row["user_id"]: row for row in read(out).to_pylist()}
    assert set(rows) == set(bench.data.user_ids)
    for user, row in rows.items():
        expect(row, bench.model.adapt(states(bench.of(user))[:2]).posterior)
        assert row["model"] == bench.model.identity
    answers = sum(len(bench.of(user)) for user in rows)
    assert outcome.counts == {
        "users": 40,
        "answers": answers,
        "repeated": len(bench.data) - answers,
    }
    assert outcome.counts["repeated"] > 0


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_as_on_one_machine(
    name: str, bench: Bench, models: Models, out: Path
) -> None:
    model = models[name]
    adapted(bench, out, run=models.run(name))
    given = 3 if model.method.settings.reads_prompts else 2
    for row in read(out).to_pylist()[::9]:
        expect(row, model.adapt(states(bench.of(row["user_id"]))[:given]).posterior)


@pytest.mark.usefixtures("small_pieces")
def test_neither_order_nor_pieces_nor_repetition_change_a_byte(
    bench: Bench, out: Path, tmp_path: Path
) -> None:
    rows = pq.read_table(bench.comparisons).to_pylist()
    order = np.random.default_rng(1).permutation(len(rows))
    shuffled = [rows[i] for i in order]
    folder = tmp_path / "input"
    folder.mkdir()
    write(folder / "a.parquet", shuffled[:100], group=9)
    write(folder / "b.parquet", shuffled[50:], group=1000)
    adapted(bench, out)
    outcome = adapted(bench, tmp_path / "other", input_path=folder)
    # the number of rows that are left out is a count of the file, not of the users
    assert outcome.counts["answers"] == sum(read(out)["answers"].to_pylist())
    one, other = read(out), read(tmp_path / "other")
    assert one.equals(other)


def test_the_number_of_parts_changes_no_posterior(bench: Bench, out: Path, tmp_path: Path) -> None:
    adapted(bench, out, parts=1)
    adapted(bench, tmp_path / "many", parts=64)  # more than there are users: some have none
    one, many = (read(folder).sort_by("user_id").to_pylist() for folder in (out, tmp_path / "many"))
    assert [row["user_id"] for row in one] == [row["user_id"] for row in many]
    for mine, theirs in zip(one, many, strict=True):
        assert mine["mean"] == pytest.approx(theirs["mean"], abs=1e-5)


def test_an_answer_and_its_opposite_both_count(bench: Bench, out: Path, tmp_path: Path) -> None:
    row = toy.rows(users=1, each=1)[0]
    back = row | {"chosen": row["rejected"], "rejected": row["chosen"]}
    adapted(bench, out, input_path=write(tmp_path / "both.parquet", [row, back, row]))
    assert read(out)["answers"].to_pylist() == [2]


def test_parts_are_as_large_as_memory_allows() -> None:
    assert rows_of_part(8) == 100_000
    assert rows_of_part(2 * 384) == 43_690
    assert rows_of_part(10**9) == 1024


def test_memory_of_evidence_is_that_of_chunks(
    bench: Bench, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapted(bench, out)
    monkeypatch.setattr("palate.scale.answers.CHUNK", 7)
    adapted(bench, tmp_path / "chunks")
    one, other = (torch.tensor(read(f)["mean"].to_pylist()) for f in (out, tmp_path / "chunks"))
    torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_whole_numbers_are_user_ids(bench: Bench, out: Path, tmp_path: Path) -> None:
    rows = [row | {"user_id": 7} for row in toy.rows(users=1, each=3)]
    adapted(bench, out, input_path=write(tmp_path / "a.parquet", rows))
    assert read(out)["user_id"].to_pylist() == ["7"]


def test_a_finished_job_does_nothing(bench: Bench, out: Path) -> None:
    adapted(bench, out)
    before = {path: path.stat().st_mtime_ns for path in out.iterdir() if path.suffix == ".parquet"}
    again = adapted(bench, out)
    assert (again.already, again.parts) == (5, 5)
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_stopped_job_goes_on(
    bench: Bench, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapted(bench, tmp_path / "whole")
    write_table = adapting.write_table

    def fails_at_the_third(path: Path, *more: Any) -> None:
        if path.name == "part-000002.parquet":
            raise KeyboardInterrupt
        write_table(path, *more)

    monkeypatch.setattr(adapting, "write_table", fails_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        adapted(bench, out)
    assert len(part_bytes(out)) == 2
    with pytest.raises(ScaleError, match="is not finished: 3 of 5 parts are missing"):
        read_manifest(out, "users", "palate scale adapt")
    monkeypatch.undo()
    assert adapted(bench, out).already == 2
    assert part_bytes(out) == part_bytes(tmp_path / "whole")
    assert sorted(path.name for path in out.iterdir())[0:2] == [".lock", "manifest.json"]


def test_another_job_in_the_folder_is_refused(
    bench: Bench, models: Models, out: Path, tmp_path: Path
) -> None:
    adapted(bench, out)
    before, other = part_bytes(out), models["pref"]
    with pytest.raises(ScaleError, match=f"model: was {bench.model.identity}, is {other.identity}"):
        adapted(bench, out, run=models.run("pref"))
    with pytest.raises(ScaleError, match=r"input: was .*, is .*name another folder"):
        adapted(bench, out, input_path=write_many(tmp_path / "b.parquet", 3, 3))
    with pytest.raises(ScaleError, match="parts: was 5, is 6"):
        adapted(bench, out, parts=6)
    with pytest.raises(ScaleError, match="features: was"):
        adapted(bench, out, features=write_states(tmp_path / "features", parts=2))
    assert part_bytes(out) == before


def test_features_of_a_text_are_missing(bench: Bench, out: Path, tmp_path: Path) -> None:
    rows = [toy.rows(users=1, each=1)[0] | {"chosen": "never encoded"}]
    path = write(tmp_path / "a.parquet", rows)
    with pytest.raises(DataError, match=r"1 of 1 texts have no features in .*palate scale encode"):
        adapted(bench, out, input_path=path)


FAULTY: dict[str, tuple[dict[str, Any], str]] = {
    "no user": ({"user_id": None}, "row 31, field 'user_id': the user id is missing"),
    "empty": ({"chosen": " "}, "row 31, field 'chosen': the text is empty"),
    "nothing": ({"rejected": None}, "row 31, field 'rejected': the text is missing"),
}


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("case", FAULTY)
def test_faulty_rows_are_named_as_in_their_file(
    case: str, bench: Bench, out: Path, tmp_path: Path
) -> None:
    change, message = FAULTY[case]
    rows = toy.rows(users=2, each=24)
    rows[30] |= change
    path = write(tmp_path / "a.parquet", rows, group=13)
    with pytest.raises(DataError, match=f"{path.name}, {message}"):
        adapted(bench, out, input_path=path)
    assert part_bytes(out) == {}


def test_rows_that_say_nothing(
    bench: Bench, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are tolerated by their share of the whole input, as in one file."""
    rows = toy.rows(users=2, each=24)
    rows[30] |= {"chosen": rows[30]["rejected"]}
    path = write(tmp_path / "a.parquet", rows)
    with pytest.raises(DataError, match="1 of 48 rows say nothing"):
        adapted(bench, out, input_path=path)
    monkeypatch.setattr("palate.scale.job.TOLERATED_ONE_IN", 48)
    outcome = adapted(bench, out, input_path=path)
    assert outcome.counts["answers"] + outcome.counts["repeated"] == 47


def test_features_that_leave_no_posterior(bench: Bench, out: Path, tmp_path: Path) -> None:
    row = toy.rows(users=1, each=1)[0]
    keys = [text_key(row["prompt"], row[side]) for side in ("chosen", "rejected")]
    table = np.frombuffer(b"".join(keys), dtype=np.uint8).reshape(-1, 16)
    write_features(tmp_path / "f", table, torch.full((2, toy.WIDTH), float("nan")))
    path = write(tmp_path / "a.parquet", [row])
    with pytest.raises(DataError, match="hidden states hold numbers that are not finite"):
        adapted(bench, out, input_path=path, features=tmp_path / "f")


def test_a_model_that_changed_under_the_job(
    bench: Bench, models: Models, out: Path, tmp_path: Path
) -> None:
    bench.model.save(tmp_path / "run")
    job = adapt_job(tmp_path / "run", bench.comparisons, out, bench.features, parts=2)
    models["pref"].save(tmp_path / "run", overwrite=True)
    with pytest.raises(ScaleError, match="is another than the job was begun with"):
        run_job(job, Here())


def test_models_are_kept_by_identity(bench: Bench) -> None:
    assert isinstance(model_of(bench.run, bench.model.identity), PersonalRewardModel)
    assert model_of(bench.run, bench.model.identity) is model_of(bench.run, bench.model.identity)
