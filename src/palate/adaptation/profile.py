"""One user's answers as a file: continued with more of them, refused by any other model."""

from __future__ import annotations

import base64
import binascii
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from palate.errors import PosteriorError
from palate.files import json_checksum, write_atomically
from palate.types import UserPosterior, WeightDistribution

FORMAT = 2
KIND = "palate-user"
#: Largest number that evidence may hold; standardised features give ones of a hundred at most.
MOST = 1e8


@dataclass(frozen=True, eq=False)
class UserProfile:
    """A user's posterior under one model, and the answers that it was made from.

    model: identity of the model. evidence: (n, E) what each answer said, all that the posterior is
    made from. weights: the posterior's weights over the bases, None for a method without bases.
    answers: a key of every answer given as text, so that one given again is known. contradictory:
    how many of them say the opposite of another. Raises `PosteriorError` where the evidence leaves
    no posterior: numbers beyond all bounds, or a variance that is not above zero.
    """

    model: str
    method: str
    evidence: Tensor
    posterior: UserPosterior
    weights: WeightDistribution | None
    answers: tuple[str, ...] = ()
    contradictory: int = 0

    def __post_init__(self) -> None:
        mean, variance = self.posterior.mean, self.posterior.variance
        sound = [(self.evidence.abs() <= MOST).all(), mean.isfinite().all()]
        if variance is not None:
            sound.append((variance.isfinite() & (variance > 0)).all())
        if not all(map(bool, sound)):
            raise PosteriorError(
                f"a user's evidence leaves no posterior (numbers beyond {MOST:g}, or precisions "
                "below zero): look at the hidden states given, or adapt again from the answers"
            )

    @property
    def uncertainty(self) -> float | None:
        """Mean over dimensions of the posterior's standard deviation; None if not measured."""
        value = self.posterior.uncertainty
        return None if value is None else float(value[0])

    def summary(self) -> dict[str, Any]:
        """What people read: number of answers, mean, uncertainty, weights over the bases."""
        weights = None if self.weights is None else self.weights.mean[0]
        covariance = None if self.weights is None else self.weights.covariance
        variance = self.posterior.variance
        return {
            "method": self.method,
            "answers": int(self.posterior.answers[0]),
            "contradictory": self.contradictory,
            "uncertainty": self.uncertainty,
            "mean": self.posterior.mean[0].tolist(),
            "sd": None if variance is None else variance[0].sqrt().tolist(),
            "weights": None if weights is None else weights.tolist(),
            "weights_sd": None if covariance is None else covariance[0].diag().sqrt().tolist(),
        }

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the profile as JSON; the file is whole or as it was."""
        rows = self.evidence.numpy().astype("<f4")
        content = {
            "kind": KIND,
            "format": FORMAT,
            "model": self.model,
            **self.summary(),
            "evidence": {
                "shape": list(rows.shape),
                "float32": base64.b64encode(rows.tobytes()).decode(),
            },
            "answer_keys": list(self.answers),
        }
        content["checksum"] = json_checksum(content)
        write_atomically(Path(path), json.dumps(content, indent=1) + "\n")


@dataclass(frozen=True)
class SavedProfile:
    """A profile as its file holds it, before a model has made sense of it."""

    model: str
    evidence: Tensor
    answers: tuple[str, ...]
    contradictory: int


def read_profile(path: str | os.PathLike[str]) -> SavedProfile:
    """Read a profile's file; raises `PosteriorError` where it is damaged or of a newer format."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise PosteriorError(f"the user file {path} cannot be read: {error}") from error
    if not isinstance(content, dict) or content.get("kind") != KIND:
        raise PosteriorError(f"{path} is no user file; expected what `palate adapt --out` writes")
    if content.get("format") != FORMAT:
        raise PosteriorError(
            f"the user file {path} has format {content.get('format')!r}, this version reads "
            f"{FORMAT}: upgrade palate, or adapt again from the answers"
        )
    try:
        if content.pop("checksum", None) != json_checksum(content):
            raise ValueError("its checksum differs")
        return _parse(content)
    except (KeyError, TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise PosteriorError(
            f"the user file {path} is damaged: {error!r}; adapt again from the answers"
        ) from error


def _parse(content: dict[str, Any]) -> SavedProfile:
    rows = _rows(content["evidence"])
    keys = content["answer_keys"]
    contradictory = content["contradictory"]
    if content["answers"] != len(rows):
        raise ValueError("answers is not the number of rows of evidence")
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise ValueError("answer_keys is not a list of texts")
    if len(set(keys)) > len(rows):
        raise ValueError("there are more answer_keys than answers")
    if not _is_count(contradictory) or contradictory > len(rows):
        raise ValueError("contradictory is not a number of answers")
    return SavedProfile(str(content["model"]), rows, tuple(keys), contradictory)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _rows(content: dict[str, Any]) -> Tensor:
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
