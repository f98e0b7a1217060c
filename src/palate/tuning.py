"""What is chosen on validation comparisons: the weight decay and the temperature of the rewards."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from palate.data.pairs import first_rows, pairs_of_users
from palate.data.splits import Split
from palate.methods import Margins, Method, TrainingSettings
from palate.progress import Progress
from palate.training import Fitted, best_temperature, fit, scaled_loss
from palate.types import PairBatch

#: Weight decays tried where the settings leave it open.
WEIGHT_DECAYS = (2.0, 8.0, 32.0)
#: Reference comparisons of the held-out users on which a choice is made.
ANSWERS = (3, 10)


@dataclass(frozen=True)
class Learned:
    """A method trained on all training comparisons, and how its settings were chosen."""

    fitted: Fitted
    settings: TrainingSettings
    report: dict[str, Any]


def learn(
    method_class: type[Method],
    settings: TrainingSettings,
    features: Tensor,
    split: Split,
    *,
    seed: int,
    progress: Progress | None = None,
) -> Learned:
    """Choose on the split's validation, then train on all its training comparisons.

    Without enough users for a validation the settings' own defaults are taken, with temperature 1.
    """
    validation = split.validation()
    report: dict[str, Any] = {"validation": None}
    temperature = 1.0
    if validation is not None:
        trials = [
            _try(method_class, candidate, features, validation, seed, progress)
            for candidate in _candidates(settings)
        ]
        best = min(trials, key=lambda trial: trial.log_loss)
        settings, temperature = best.settings, best.temperature
        report["validation"] = {
            "seen_users": len(validation.seen),
            "unseen_users": len(validation.unseen),
            "log_loss_by_weight_decay": {str(t.settings.weight_decay): t.log_loss for t in trials},
        }
    pairs = _training_pairs(features, split)
    fitted = fit(method_class, settings, pairs, seed=seed, progress=progress)
    fitted.method.temperature.fill_(temperature)
    report |= {"weight_decay": fitted.method.settings.weight_decay, "temperature": temperature}
    return Learned(fitted, settings, report | {"losses": fitted.losses})


@dataclass(frozen=True)
class _Trial:
    """Settings, the temperature that suits them, and the validation log-loss with it."""

    settings: TrainingSettings
    temperature: float
    log_loss: float


def _candidates(settings: TrainingSettings) -> list[TrainingSettings]:
    if settings.weight_decay is not None:
        return [settings]
    return [replace(settings, weight_decay=decay) for decay in WEIGHT_DECAYS]


def _try(
    method_class: type[Method],
    settings: TrainingSettings,
    features: Tensor,
    validation: Split,
    seed: int,
    progress: Progress | None,
) -> _Trial:
    pairs = _training_pairs(features, validation)
    method = fit(method_class, settings, pairs, seed=seed, progress=progress).method
    margins = _validation_margins(method, features, validation)
    temperature = best_temperature(margins)
    return _Trial(settings, temperature, float(scaled_loss(margins, torch.tensor(temperature))))


def _training_pairs(features: Tensor, split: Split) -> PairBatch:
    users = np.unique(split.data.user[split.train])
    return pairs_of_users(split.data, features, split.train, users)


def _validation_margins(method: Method, features: Tensor, split: Split) -> Margins:
    """Margins of held-out texts: seen users by all they trained, unseen ones by a few answers."""
    data = split.data
    given = [(split.seen, split.train)]
    given += [(split.unseen, first_rows(data, split.reference, n)) for n in ANSWERS]
    parts = []
    for users, rows in given:
        posterior = method.infer(pairs_of_users(data, features, rows, users))
        evaluated = pairs_of_users(data, features, split.evaluation, users)
        parts.append(method.margins(posterior, evaluated))
    variances = [part.variance for part in parts if part.variance is not None]
    return Margins(
        torch.cat([part.mean for part in parts]), torch.cat(variances) if variances else None
    )
