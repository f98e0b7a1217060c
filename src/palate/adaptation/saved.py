"""A profile as JSON: written whole, and refused where it is damaged or of another format."""

from __future__ import annotations

import base64
import binascii
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import torch
from torch import Tensor

from palate.adaptation.ageing import Ageing
from palate.adaptation.record import Answer, Record
from palate.errors import PosteriorError, SettingsError
from palate.files import json_checksum

FORMAT = 3
KIND = "palate-user"
#: Largest number that evidence may hold; standardised features give ones of a hundred at most.
MOST = 1e8


@dataclass(frozen=True, eq=False)
class SavedProfile:
    """What is kept of a profile: all that its model makes a posterior from."""

    model: str
    record: Record
    ageing: Ageing | None = None

    def to_json(self, summary: Mapping[str, Any]) -> dict[str, Any]:
        """One object for JSON, with a summary for people."""
        rows = self.record.rows.numpy().astype("<f4")
        answers = self.record.answers
        content = {
            "kind": KIND,
            "format": FORMAT,
            "model": self.model,
            **summary,
            "evidence": {
                "shape": list(rows.shape),
                "float32": base64.b64encode(rows.tobytes()).decode(),
            },
            "answer_keys": [answer.key for answer in answers],
            "answer_times": [answer.time for answer in answers],
            "answer_turns": [answer.turn for answer in answers],
            "withdrawn_turns": dict(self.record.withdrawn),
        }
        weights = [answer.weight for answer in answers]
        if any(weight != 1.0 for weight in weights):  # as no file says that has none
            content["answer_weights"] = weights
        return content | {"checksum": json_checksum(content)}

    @classmethod
    def from_json(cls, content: object, name: str = "the user's profile") -> SavedProfile:
        """From what `to_json` gave; raises `PosteriorError` where it is damaged or newer."""
        if not isinstance(content, dict) or content.get("kind") != KIND:
            raise PosteriorError(f"{name} is no user file; expected what `palate adapt` writes")
        if content.get("format") != FORMAT:
            raise PosteriorError(
                f"{name} has format {content.get('format')!r}, this version reads {FORMAT}: "
                "upgrade palate, or adapt again from the answers"
            )
        content = dict(content)
        try:
            if content.pop("checksum", None) != json_checksum(content):
                raise ValueError("its checksum differs")
            return cls(str(content["model"]), _record(content), _ageing(content["ageing"]))
        except (
            *(KeyError, TypeError, ValueError, OverflowError),
            *(RuntimeError, AttributeError, SettingsError),
        ) as error:
            raise PosteriorError(
                f"{name} is damaged: {error!r}; adapt again from the answers"
            ) from error


def as_text(content: Mapping[str, Any]) -> str:
    """The text of a user's file."""
    return json.dumps(content, indent=1) + "\n"


def read_profile(path: str | os.PathLike[str]) -> SavedProfile:
    """Read a profile's file; raises `PosteriorError` where it is damaged or of another format."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise PosteriorError(f"the user file {path} cannot be read: {error}") from error
    return SavedProfile.from_json(content, f"the user file {path}")


def _record(content: Mapping[str, Any]) -> Record:
    rows = _rows(content["evidence"])
    columns = [content[name] for name in ("answer_keys", "answer_times", "answer_turns")]
    columns.append(content.get("answer_weights", [1.0] * len(rows)))
    if not all(isinstance(column, list) for column in columns):
        raise ValueError("the answers' keys, times, turns and weights are not lists")
    if any(len(column) != len(rows) for column in (*columns, range(content["answers"]))):
        raise ValueError("answers is not the number of rows of evidence, keys, times, ...")
    answers = tuple(map(_answer, *columns))
    withdrawn = content["withdrawn_turns"]
    if not all(_is_count(turn) and turn and turn % 2 == 0 for turn in withdrawn.values()):
        raise ValueError("a withdrawn answer's turn is not even")
    if len({*withdrawn, *(answer.key for answer in answers)}) < len(withdrawn) + len(answers):
        raise ValueError("an answer stands twice, or was withdrawn and stands")
    record = Record(rows, answers, dict(withdrawn))
    if content["contradictory"] != record.contradictory:
        raise ValueError("contradictory is not the number of answers that are")
    return record


def _answer(key: object, time: object, turn: object, weight: object) -> Answer:
    if not isinstance(key, str) or not _is_count(turn) or turn % 2 == 0:
        raise ValueError("an answer's key is no text, or its turn is not odd")
    if time is not None and not _is_number(time):
        raise ValueError("an answer's time is neither a number nor null")
    if not _is_number(weight) or not 0 <= weight <= 1:
        raise ValueError("an answer's weight is no number in [0, 1]")
    return Answer(key, time, turn, weight)


def _ageing(content: Mapping[str, Any] | None) -> Ageing | None:
    if content is None:
        return None
    half_life, now = content["half_life"], content["now"]
    if not _is_number(half_life) or not _is_number(now):
        raise ValueError("ageing is not by a half-life until a time")
    return Ageing(half_life, now)


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_number(value: object) -> TypeGuard[float]:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return math.isfinite(value)


def _rows(content: Mapping[str, Any]) -> Tensor:
    """Evidence (n, E) from its shape and bytes."""
    shape = content["shape"]
    if not isinstance(shape, list) or len(shape) != 2 or not all(map(_is_count, shape)):
        raise ValueError("the evidence's shape is not two counts")
    try:
        values = np.frombuffer(base64.b64decode(content["float32"], validate=True), dtype="<f4")
    except binascii.Error as error:
        raise ValueError("the evidence is not in base64") from error
    if not np.isfinite(values).all():
        raise ValueError("the evidence holds a number that is not finite")
    if (np.abs(values) > MOST).any():
        raise ValueError(f"the evidence holds a number beyond {MOST:g}")
    return torch.from_numpy(values.reshape(shape).astype(np.float32))
