"""A fitted method on a split: seen and unseen users, by number of answers, with calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from palate.data.comparisons import IntArray, PreferenceData
from palate.data.pairs import first_rows, pairs_of_users
from palate.data.splits import NewSplit, Split
from palate.evaluation import metrics
from palate.evaluation.metrics import Floats, Integers, UserMean
from palate.methods import Margins, Method
from palate.types import UserPosterior

#: Numbers of reference comparisons at which unseen users are evaluated, as far as a split has them.
FEW_SHOT = (0, 1, 3, 5, 10, 20)


def few_shot_of(answers: int) -> tuple[int, ...]:
    """The numbers below the most that a split allows, and that: the headline is the last."""
    return (*(n for n in FEW_SHOT if n < answers), answers)


@dataclass(frozen=True, eq=False)
class Predictions:
    """Logits of evaluated comparisons (B,) and the user of each (B,), numbered from 0."""

    logit: Floats
    user: Integers

    @property
    def accuracy(self) -> UserMean:
        """Share of comparisons predicted rightly, per user, then over users; a tie is one half."""
        return metrics.over_users(metrics.per_user(metrics.hits(self.logit), self.user))

    @property
    def log_loss(self) -> UserMean:
        """-log P(chosen), per user, then over users."""
        return metrics.over_users(metrics.per_user(metrics.log_loss(self.logit), self.user))

    @property
    def calibration_error(self) -> float:
        """Expected calibration error over 15 bins of equal count."""
        return metrics.calibration_error(self.logit)

    def to_json(self) -> dict[str, Any]:
        """Figures by name; None where there is no user to measure."""
        accuracy, loss = self.accuracy, self.log_loss
        return {
            "accuracy": _number(accuracy.mean),
            "standard_error": _number(accuracy.standard_error),
            "interval": [_number(end) for end in accuracy.interval],
            "users": accuracy.users,
            "comparisons": len(self.logit),
            "log_loss": _number(loss.mean),
            "calibration_error": _number(self.calibration_error),
        }


@dataclass(frozen=True)
class Evaluation:
    """What a method does on a split: by group of users, and by number of answers."""

    method: str
    seen: Predictions
    unseen: Predictions
    few_shot: dict[int, Predictions]

    @property
    def overall(self) -> float:
        """The plain mean of seen and unseen accuracy; of one where the other has no user."""
        parts = [p.accuracy.mean for p in (self.seen, self.unseen) if len(p.logit)]
        return float(np.mean(parts)) if parts else float("nan")

    def to_json(self) -> dict[str, Any]:
        """The figures as one object; log_loss and calibration_error are the unseen users'."""
        unseen = self.unseen.to_json()
        return {
            "method": self.method,
            "seen": self.seen.to_json(),
            "unseen": unseen,
            "overall": _number(self.overall),
            "few_shot": {str(n): _number(p.accuracy.mean) for n, p in self.few_shot.items()},
            "log_loss": unseen["log_loss"],
            "calibration_error": unseen["calibration_error"],
        }


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def evaluate(method: Method, features: Tensor, split: Split) -> Evaluation:
    """Seen users by all their training comparisons, unseen ones by their first few references."""
    train = pairs_of_users(split.data, features, split.train, split.seen)
    posterior = method.infer(train)
    seen = predict(method, posterior, split.data, features, split.evaluation, split.seen)
    few_shot = evaluate_few_shot(
        method,
        features,
        split.data,
        split.reference,
        split.evaluation,
        split.unseen,
        few_shot_of(split.answers),
    )
    return Evaluation(method.name, seen, few_shot[split.answers], few_shot)


def evaluate_new(
    method: Method, features: Tensor, split: NewSplit, posterior: UserPosterior
) -> Evaluation:
    """On data of another day: `posterior` holds the seen users', in the order of `split.seen`."""
    data = split.data
    seen = predict(method, posterior, data, features, split.evaluation_of_seen, split.seen)
    few_shot = evaluate_few_shot(
        method, features, data, split.reference, split.evaluation, split.unseen
    )
    return Evaluation(method.name, seen, few_shot[FEW_SHOT[-1]], few_shot)


def evaluate_few_shot(
    method: Method,
    features: Tensor,
    data: PreferenceData,
    reference: IntArray,
    evaluation: IntArray,
    users: IntArray,
    shots: Sequence[int] = FEW_SHOT,
) -> dict[int, Predictions]:
    """Predictions of users by how many of their references they are adapted on."""
    result = {}
    for answers in shots:
        given = pairs_of_users(data, features, first_rows(data, reference, answers), users)
        result[answers] = predict(method, method.infer(given), data, features, evaluation, users)
    return result


def predict(
    method: Method,
    posterior: UserPosterior,
    data: PreferenceData,
    features: Tensor,
    rows: IntArray,
    users: IntArray,
) -> Predictions:
    """Logits of the users' comparisons in `rows`."""
    pairs = pairs_of_users(data, features, rows, users)
    margins: Margins = method.margins(posterior, pairs)
    return Predictions(margins.logit.double().numpy(), pairs.user.numpy())
