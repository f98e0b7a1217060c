"""A user's file holds what was learned, is continued, and is refused where it is not whole."""

from __future__ import annotations

import base64
import json
import math
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from palate import PersonalRewardModel, PreferenceData
from palate.adaptation.profile import UserProfile
from palate.adaptation.saved import read_profile
from palate.errors import PosteriorError
from palate.files import OutputError, json_checksum
from palate.types import PairBatch, UserPosterior
from tests import toy as world


@pytest.fixture(scope="module")
def answers(toy: PreferenceData) -> tuple[torch.Tensor, torch.Tensor]:
    """Hidden states of ten answers, chosen and rejected."""
    features = world.features(toy)
    return features[toy.chosen_item[:10]], features[toy.rejected_item[:10]]


@pytest.fixture(scope="module")
def profile(
    toy_model: PersonalRewardModel, answers: tuple[torch.Tensor, torch.Tensor]
) -> UserProfile:
    return toy_model.adapt(answers)


@pytest.fixture
def path(profile: UserProfile, tmp_path: Path) -> Path:
    """A saved profile that a test may damage."""
    profile.save(tmp_path / "user.json")
    return tmp_path / "user.json"


def test_a_saved_profile_is_read_as_it_was(
    toy_model: PersonalRewardModel, profile: UserProfile, path: Path
) -> None:
    loaded = toy_model.load_user(path)
    assert torch.equal(loaded.evidence, profile.evidence)
    assert torch.equal(loaded.posterior.mean, profile.posterior.mean)
    assert loaded.posterior.variance is not None
    assert profile.posterior.variance is not None
    assert torch.equal(loaded.posterior.variance, profile.posterior.variance)
    assert loaded.posterior.answers.tolist() == [10]
    assert loaded.summary() == profile.summary()
    first = path.read_bytes()
    loaded.save(path)
    assert path.read_bytes() == first


def test_a_profile_is_continued_from_its_file(
    toy_model: PersonalRewardModel,
    answers: tuple[torch.Tensor, torch.Tensor],
    profile: UserProfile,
    tmp_path: Path,
) -> None:
    chosen, rejected = answers
    toy_model.adapt((chosen[:4], rejected[:4])).save(tmp_path / "half.json")
    half = toy_model.load_user(tmp_path / "half.json")
    whole = toy_model.adapt((chosen[4:], rejected[4:]), half)
    torch.testing.assert_close(whole.posterior.mean, profile.posterior.mean)
    torch.testing.assert_close(whole.posterior.variance, profile.posterior.variance)
    torch.testing.assert_close(whole.weights.mean, profile.weights.mean)


def test_a_method_without_uncertainty_says_so(toy: PreferenceData, tmp_path: Path) -> None:
    model = PersonalRewardModel.train(
        toy, method="bt", features=world.features(toy), settings={"steps": 2, "weight_decay": 8.0}
    )
    model.new_user().save(tmp_path / "user.json")
    loaded = model.load_user(tmp_path / "user.json")
    assert loaded.uncertainty is None
    assert loaded.posterior.variance is None
    summary = json.loads((tmp_path / "user.json").read_text())
    assert [summary[name] for name in ("uncertainty", "sd", "weights_sd")] == [None] * 3


def test_what_people_read_is_computed_from_the_posterior(profile: UserProfile, path: Path) -> None:
    content = json.loads(path.read_text())
    assert profile.posterior.variance is not None
    assert content["answers"] == 10
    assert content["mean"] == pytest.approx(profile.posterior.mean[0].tolist())
    variance = profile.posterior.variance[0].tolist()
    assert content["sd"] == pytest.approx([math.sqrt(v) for v in variance])
    assert content["uncertainty"] == pytest.approx(sum(content["sd"]) / len(content["sd"]))
    assert sum(content["weights"]) == pytest.approx(1.0, abs=1e-5)


def test_the_file_holds_each_answers_evidence(
    toy_model: PersonalRewardModel,
    answers: tuple[torch.Tensor, torch.Tensor],
    path: Path,
) -> None:
    """Little-endian float32 in base64, a row an answer, and nothing less exact."""
    content = json.loads(path.read_text())["evidence"]
    flat = struct.unpack("<160f", base64.b64decode(content["float32"]))
    expected = toy_model.method.evidence(PairBatch.of_pairs(*answers)).detach()
    assert content["shape"] == [10, 16]
    assert torch.equal(torch.tensor(flat).view(10, 16), expected)


def test_without_its_last_row_a_profile_is_that_of_the_other_answers(
    toy_model: PersonalRewardModel, answers: tuple[torch.Tensor, torch.Tensor], path: Path
) -> None:
    """The posterior is a function of the rows alone, whatever else the file says of it."""
    saved = read_profile(path).record.rows.numpy()[:9]
    forge(
        path,
        lambda content: content.update(
            {name: content[name][:9] for name in COLUMNS},
            answers=9,
            evidence={"shape": [9, 16], "float32": base64.b64encode(saved.tobytes()).decode()},
        ),
    )
    fewer = toy_model.adapt(tuple(table[:9] for table in answers))
    torch.testing.assert_close(toy_model.load_user(path).posterior.mean, fewer.posterior.mean)


#: What the file holds of every answer beside its evidence.
COLUMNS = ("answer_keys", "answer_times", "answer_turns")


# -- damage ---------------------------------------------------------------------------------------


def refusal(path: Path) -> str:
    with pytest.raises(PosteriorError) as error:
        read_profile(path)
    assert str(path) in str(error.value)
    return str(error.value)


def test_every_changed_letter_is_noticed(path: Path) -> None:
    """Changes of the layout alone, such as a space, are none."""
    whole = path.read_bytes()
    content = json.loads(whole)
    for place in range(0, len(whole), 7):
        changed = bytearray(whole)
        changed[place] ^= 1
        try:
            same = json.loads(changed) == content
        except ValueError:
            same = False
        if not same:
            path.write_bytes(changed)
            assert refusal(path)


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.99])
def test_a_file_that_is_cut_off_is_refused(share: float, path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    assert "cannot be read" in refusal(path)


NOT_PROFILES: dict[str, bytes] = {
    "empty": b"",
    "a list": b"[]",
    "an answers file": b'{"prompt": "p", "chosen": "a", "rejected": "b"}\n',
    "a model's configuration": b'{"format": 1, "method": "vrf"}',
    "latin-1": b'{"kind": "caf\xe9"}',
    "endless": b"[" * 200_000,
    "a long number": b"1" * 5000,
}


@pytest.mark.parametrize("content", NOT_PROFILES.values(), ids=NOT_PROFILES.keys())
def test_what_is_no_profile_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "user.json"
    path.write_bytes(content)
    message = refusal(path)
    assert "cannot be read" in message or "is no user file; expected what `palate adapt" in message


@pytest.mark.parametrize("name", ["nothing.json", "."])
def test_a_file_that_is_not_there(name: str, tmp_path: Path) -> None:
    assert "cannot be read" in refusal(tmp_path / name)


def forge(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the content and make its checksum right, as a program that is wrong might."""
    content = json.loads(path.read_text())
    del content["checksum"]
    change(content)
    content["checksum"] = json_checksum(content)
    path.write_text(json.dumps(content))


def put(*where: str, value: Any) -> Callable[[dict[str, Any]], object]:
    def change(content: dict[str, Any]) -> None:
        for name in where[:-1]:
            content = content[name]
        content[where[-1]] = value

    return change


def rows(*values: float, columns: int = 16) -> dict[str, Any]:
    """Evidence as the file holds it: ten answers, of which the last ends with these values."""
    table = np.ones((10, columns), dtype="<f4")
    table[-1, columns - len(values) :] = values
    return {"shape": [10, columns], "float32": base64.b64encode(table.tobytes()).decode()}


DAMAGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "evidence is missing": lambda content: content.pop("evidence"),
    "evidence is a list": put("evidence", value=[[1.0] * 16] * 10),
    "evidence is nothing": put("evidence", value=None),
    "shape is missing": lambda content: content["evidence"].pop("shape"),
    "shape of one axis": put("evidence", "shape", value=[160]),
    "shape of three axes": put("evidence", "shape", value=[10, 16, 1]),
    "shape of another size": put("evidence", "shape", value=[10, 15]),
    "shape below zero": put("evidence", "shape", value=[10, -1]),
    "shape beyond all bounds": put("evidence", "shape", value=[10, 10**30]),
    "shape of fractions": put("evidence", "shape", value=[10.0, 16.0]),
    "shape of truths": put("evidence", "shape", value=[True, True]),
    "shape is a text": put("evidence", "shape", value="10"),
    "rows are missing": lambda content: content["evidence"].pop("float32"),
    "rows are numbers": put("evidence", "float32", value=[1.0] * 160),
    "rows are no base64": put("evidence", "float32", value="*" * 856),
    "rows with a letter of no alphabet": put("evidence", "float32", value="\u00e9" * 856),
    "rows without their padding": put("evidence", "float32", value="AAAAA"),
    "rows that are cut off": put("evidence", "float32", value="AAAAAAA="),
    "rows with a star between": lambda content: content["evidence"].update(
        float32="*" + content["evidence"]["float32"]
    ),
    "rows are empty": put("evidence", "float32", value=""),
    "a row is NaN": put("evidence", value=rows(math.nan)),
    "a row is infinite": put("evidence", value=rows(-math.inf)),
    "a row beyond all bounds": put("evidence", value=rows(3e38)),
    "a row too few": put("answers", value=11),
    "a row too many": put("answers", value=9),
    "answers below zero": put("answers", value=-10),
    "answers are missing": lambda content: content.pop("answers"),
    "answers' keys are missing": lambda content: content.pop("answer_keys"),
    "keys are numbers": put("answer_keys", value=list(range(10))),
    "keys are a text": put("answer_keys", value="0123456789"),
    "a key too many": put("answer_keys", value=[str(i) for i in range(11)]),
    "a key twice": put("answer_keys", value=["a"] * 10),
    "times are missing": lambda content: content.pop("answer_times"),
    "a time too few": put("answer_times", value=[1.0] * 9),
    "a time is a text": put("answer_times", value=["2026"] * 10),
    "a time is infinite": put("answer_times", value=[math.inf] * 10),
    "a time beyond all bounds": put("answer_times", value=[10**400] * 10),
    "a turn of no answer": put("answer_turns", value=[2] * 10),
    "a turn is a fraction": put("answer_turns", value=[1.0] * 10),
    "withdrawn turns are a list": put("withdrawn_turns", value=[2]),
    "a withdrawn turn is odd": put("withdrawn_turns", value={"a": 3}),
    "a withdrawn turn is nothing": put("withdrawn_turns", value={"a": 0}),
    "withdrawn and standing": lambda content: content.update(
        withdrawn_turns={content["answer_keys"][0]: 2}
    ),
    "contradictory is text": put("contradictory", value="2"),
    "contradictory of no answers": put("contradictory", value=2),
    "ageing is a number": put("ageing", value=3.0),
    "ageing without a half-life": put("ageing", value={"now": 1.0}),
    "ageing backwards": put("ageing", value={"half_life": -1.0, "now": 1.0}),
    "ageing without end": put("ageing", value={"half_life": math.inf, "now": 1.0}),
}


@pytest.mark.parametrize("change", DAMAGES.values(), ids=DAMAGES.keys())
def test_values_that_make_no_sense_are_refused(
    change: Callable[[dict[str, Any]], object], path: Path
) -> None:
    forge(path, change)
    assert "is damaged" in refusal(path)
    assert "adapt again from the answers" in refusal(path)


@pytest.mark.parametrize("number", [1, 2, 4, "3", None])
def test_another_format_is_refused_with_advice(number: object, path: Path) -> None:
    forge(path, put("format", value=number))
    message = refusal(path)
    assert f"has format {number!r}, this version reads 3" in message
    assert "upgrade palate, or adapt again from the answers" in message


def test_a_profile_of_another_model_is_refused(toy_model: PersonalRewardModel, path: Path) -> None:
    forge(path, put("model", value="0123456789abcdef"))
    with pytest.raises(PosteriorError, match="belongs to model 0123456789ab, this is"):
        toy_model.load_user(path)


def test_a_profile_of_another_width_is_refused(toy_model: PersonalRewardModel, path: Path) -> None:
    forge(path, put("evidence", value=rows(columns=15)))
    with pytest.raises(PosteriorError, match="is damaged: its evidence has 15 columns, not 16"):
        toy_model.load_user(path)


def test_evidence_that_no_answer_gives_is_refused(
    toy_model: PersonalRewardModel, path: Path
) -> None:
    """The first half of a row is a precision: below zero no Gaussian is left."""
    forge(path, put("evidence", value=rows(*[-1000.0] * 16)))
    with pytest.raises(PosteriorError, match="adapt again from the answers"):
        toy_model.load_user(path)


# -- writing --------------------------------------------------------------------------------------


def test_a_profile_is_not_written_into_a_folder(profile: UserProfile, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="it is no file"):
        profile.save(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_profile_stays_when_its_disk_is_full(
    profile: UserProfile, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    before = path.read_bytes()
    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OutputError, match="No space left"):
        profile.save(path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_uncertainty_shrinks_with_answers(
    toy_model: PersonalRewardModel, profile: UserProfile
) -> None:
    before = toy_model.new_user().uncertainty
    assert before is not None
    assert profile.uncertainty is not None
    assert profile.uncertainty < before
    assert isinstance(profile.posterior, UserPosterior)
