"""What is chosen on validation comparisons: settings left open, and the scale of rewards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from palate.data.pairs import first_rows, pairs_of_users
from palate.data.splits import Split
from palate.methods import Margins, Method, MethodSettings
from palate.methods.calibration import Calibration, calibrate
from palate.progress import Progress
from palate.training import Fitted, fit
from palate.types import PairBatch

#: Reference comparisons of the held-out users on which a choice is made.
ANSWERS = (3, 10)


@dataclass(frozen=True)
class Learned:
    """A method trained on all training comparisons, and how its settings were chosen."""

    fitted: Fitted
    settings: MethodSettings
    report: dict[str, Any]


def learn(
    method_class: type[Method],
    settings: MethodSettings,
    features: Tensor,
    split: Split,
    *,
    seed: int,
    progress: Progress | None = None,
) -> Learned:
    """Choose on the split's validation, then train on all its training comparisons.

    Without enough users for a validation the first candidate of the settings is taken as it is.
    """
    validation = split.validation()
    report: dict[str, Any] = {"validation": None}
    candidates = settings.candidates()
    settings, calibration = candidates[0], None
    if validation is not None:
        trials = [
            try_settings(method_class, candidate, features, validation, seed, progress)
            for candidate in candidates
        ]
        settings, calibration = min(trials, key=lambda trial: trial[1].log_loss)
        report["validation"] = {
            "seen_users": len(validation.seen),
            "unseen_users": len(validation.unseen),
            "trials": [_describe(tried, trial.log_loss) for tried, trial in trials],
        }
    pairs = training_pairs(features, split)
    fitted = fit(method_class, settings, pairs, seed=seed, progress=progress)
    if calibration is not None:
        fitted.method.temperature.mul_(calibration.temperature)
        fitted.method.spread.mul_(calibration.spread)
    report |= {
        "chosen": _describe(settings, None if calibration is None else calibration.log_loss),
        "temperature": float(fitted.method.temperature),
        "spread": float(fitted.method.spread),
        "losses": fitted.losses,
    }
    return Learned(fitted, settings, report)


def _describe(settings: MethodSettings, log_loss: float | None) -> dict[str, Any]:
    """What tells candidates apart, with the validation log-loss."""
    open_to_choice = {
        name: getattr(settings, name)
        for name in ("estimation", "weight_decay", "ridge")
        if hasattr(settings, name)
    }
    return {**open_to_choice, "log_loss": log_loss}


def try_settings(
    method_class: type[Method],
    settings: MethodSettings,
    features: Tensor,
    validation: Split,
    seed: int,
    progress: Progress | None = None,
) -> tuple[MethodSettings, Calibration]:
    """Train on a validation's training part; the settings with their calibrated log-loss."""
    pairs = training_pairs(features, validation)
    method = fit(method_class, settings, pairs, seed=seed, progress=progress).method
    return settings, calibrate(validation_margins(method, features, validation))


def training_pairs(features: Tensor, split: Split) -> PairBatch:
    """The training comparisons of all users who have one."""
    users = np.unique(split.data.user[split.train])
    return pairs_of_users(split.data, features, split.train, users)


def validation_margins(method: Method, features: Tensor, split: Split) -> Margins:
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
