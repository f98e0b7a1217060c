"""One user's posterior as a file: continued with more answers, refused by any other model."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from palate.errors import PosteriorError
from palate.files import json_checksum, write_atomically
from palate.types import UserPosterior, WeightDistribution

FORMAT = 1
KIND = "palate-user"


@dataclass(frozen=True, eq=False)
class UserProfile:
    """A user's posterior under one model, and which answers it has taken in.

    model: identity of the model. weights: the posterior's weights over the bases, for reading.
    answers: a key of every answer, so that one given again is known. contradictory: how many of
    them say the opposite of another.
    """

    model: str
    method: str
    posterior: UserPosterior
    weights: WeightDistribution
    answers: tuple[str, ...] = ()
    contradictory: int = 0

    @property
    def uncertainty(self) -> float | None:
        """Mean over dimensions of the posterior's standard deviation; None if not measured."""
        value = self.posterior.uncertainty
        return None if value is None else float(value[0])

    def summary(self) -> dict[str, Any]:
        """What people read: number of answers, mean, uncertainty, weights over the bases."""
        covariance = self.weights.covariance
        variance = self.posterior.variance
        return {
            "method": self.method,
            "answers": int(self.posterior.answers[0]),
            "contradictory": self.contradictory,
            "uncertainty": self.uncertainty,
            "mean": self.posterior.mean[0].tolist(),
            "sd": None if variance is None else variance[0].sqrt().tolist(),
            "weights": self.weights.mean[0].tolist(),
            "weights_sd": None if covariance is None else covariance[0].diag().sqrt().tolist(),
        }

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the profile as JSON; the file is whole or as it was."""
        variance = self.posterior.variance
        content = {
            "kind": KIND,
            "format": FORMAT,
            "model": self.model,
            **self.summary(),
            "posterior": {
                "mean": self.posterior.mean[0].tolist(),
                "variance": None if variance is None else variance[0].tolist(),
                "answers": int(self.posterior.answers[0]),
            },
            "answer_keys": list(self.answers),
        }
        content["checksum"] = json_checksum(content)
        write_atomically(Path(path), json.dumps(content, indent=1) + "\n")


@dataclass(frozen=True)
class SavedProfile:
    """A profile as its file holds it, before a model has made sense of it."""

    model: str
    posterior: UserPosterior
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
    posterior = content["posterior"]
    variance = posterior["variance"]
    count = posterior["answers"]
    keys = content["answer_keys"]
    contradictory = content["contradictory"]
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise ValueError("answer_keys is not a list of texts")
    if not _is_count(count) or len(set(keys)) > count:
        raise ValueError("answers is not the number of answers")
    if not _is_count(contradictory) or contradictory > count:
        raise ValueError("contradictory is not a number of answers")
    return SavedProfile(
        model=str(content["model"]),
        posterior=UserPosterior(
            mean=_row(posterior["mean"]),
            variance=None if variance is None else _row(variance, positive=True),
            answers=torch.tensor([count]),
        ),
        answers=tuple(keys),
        contradictory=contradictory,
    )


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _row(values: object, *, positive: bool = False) -> Tensor:
    if not isinstance(values, list) or not values:
        raise ValueError("expected a list of numbers")
    if not all(isinstance(value, int | float) for value in values):
        raise ValueError("expected a list of numbers")
    row = torch.tensor([values], dtype=torch.float32)
    if not bool(row.isfinite().all()) or (positive and not bool((row > 0).all())):
        raise ValueError("a number is out of range")
    return row
