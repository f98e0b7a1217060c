"""One user under one model: the answers, and the posterior that follows from them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from palate.adaptation.ageing import Ageing
from palate.adaptation.record import Answer, Record, answer_key, opposite
from palate.adaptation.saved import MOST, SavedProfile, as_text
from palate.errors import PosteriorError
from palate.files import write_atomically
from palate.types import Comparison, Evidence, UserPosterior, WeightDistribution


@dataclass(frozen=True, eq=False)
class UserProfile:
    """A user's posterior under one model, and the answers that it was made from.

    model: identity of the model. record: the answers; the posterior is a function of them and of
    `ageing`, by which old ones count less, or None. weights: the posterior's weights over the
    bases, None for a method without bases. Raises `PosteriorError` where the evidence leaves no
    posterior: numbers beyond all bounds, or a variance that is not above zero.
    """

    model: str
    method: str
    record: Record
    posterior: UserPosterior
    weights: WeightDistribution | None
    ageing: Ageing | None = None

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
    def evidence(self) -> Tensor:
        """(n, E) what each answer said."""
        return self.record.rows

    @property
    def answers(self) -> tuple[Answer, ...]:
        """The n answers that stand, by key and time."""
        return self.record.answers

    @property
    def said(self) -> Evidence:
        """The answers as the posterior takes them in, with what each still counts."""
        return evidence_of(self.record, self.ageing)

    def has_answered(self, pair: Comparison) -> bool:
        """Whether the user has chosen between the two responses, whichever it was."""
        key = answer_key(pair)
        return bool({key, opposite(key)} & self.record.keys.keys())

    @property
    def contradictory(self) -> int:
        """How many answers say the opposite of another."""
        return self.record.contradictory

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
            "withdrawn": len(self.record.withdrawn),
            "ageing": None if self.ageing is None else vars(self.ageing).copy(),
            "uncertainty": self.uncertainty,
            "mean": self.posterior.mean[0].tolist(),
            "sd": None if variance is None else variance[0].sqrt().tolist(),
            "weights": None if weights is None else weights.tolist(),
            "weights_sd": None if covariance is None else covariance[0].diag().sqrt().tolist(),
        }

    def to_json(self) -> dict[str, Any]:
        """The profile as one object for JSON, with its format and the identity of its model."""
        saved = SavedProfile(self.model, self.record, self.ageing)
        return saved.to_json(self.summary())

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the profile as JSON; the file is whole or as it was."""
        write_atomically(Path(path), as_text(self.to_json()))


def evidence_of(record: Record, ageing: Ageing | None) -> Evidence:
    """A user's answers, each counting what ageing leaves of its weight."""
    weight = None if ageing is None else ageing.weights(record.answers)
    given = [answer.weight for answer in record.answers]
    if any(each != 1.0 for each in given):
        own = torch.tensor(given)
        weight = own if weight is None else weight * own
    return Evidence(record.rows, torch.tensor([0, len(record)]), weight)
