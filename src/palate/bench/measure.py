"""One cell computed: a method trained on a seed's split, and everything that is measured of it."""

from __future__ import annotations

import json
import time
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor

from palate.data.comparisons import IntArray
from palate.data.pairs import first_rows, pairs_of_users
from palate.data.splits import Split, describe
from palate.evaluation import Predictions, evaluate
from palate.evaluation.metrics import Floats, auc_per_user, hits, log_loss, per_user
from palate.keys import keys_of
from palate.methods import Method, MethodSettings
from palate.progress import Progress
from palate.training import one_thread
from palate.tuning import Learned, learn
from palate.types import PairBatch, UserPosterior, rows_of_spans

#: Adaptation is timed on so many users with so many comparisons each, so many times.
TIMED_USERS, TIMED_ANSWERS, TIMED_ROUNDS = 200, 10, 7
#: Singular values that are kept of the users' tastes.
SINGULAR_VALUES = 40
#: Digits of the figures in a cell.
DIGITS = 6


def measure(
    method_class: type[Method],
    settings: MethodSettings,
    features: Tensor,
    split: Split,
    *,
    seed: int,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Train, evaluate and time one method on one split; the content of a finished cell.

    Figures are per user, by a hash of the user's name that the data alone decide, so that methods
    can be compared user by user. Raises `CannotRunError` for what the method cannot run on.
    """
    started = time.perf_counter()
    learned = learn(method_class, settings, features, split, seed=seed, progress=progress)
    return figures_of(learned, features, split, time.perf_counter() - started)


def figures_of(learned: Learned, features: Tensor, split: Split, seconds: float) -> dict[str, Any]:
    """What is measured of a trained method whose training took so many seconds."""
    trained = time.perf_counter()
    method = learned.fitted.method
    evaluation = evaluate(method, features, split)
    evaluated = time.perf_counter()
    seen, unseen = _posteriors(method, features, split)
    content = {
        "method": {
            "name": method.name,
            "personal": method.personal,
            "gives_uncertainty": method.gives_uncertainty,
        },
        "settings": vars(learned.settings),
        "split": describe(split),
        "training": learned.report,
        "seconds": {"training": seconds, "evaluation": evaluated - trained},
        "adaptation_ms": adaptation_ms(method, features, split),
        "seen": _figures(split, split.seen, evaluation.seen),
        "unseen": {
            str(n): _figures(split, split.unseen, part) for n, part in evaluation.few_shot.items()
        },
        "uncertainty": _uncertainty(split, unseen),
        "diagnostics": method.diagnostics(seen),
        "coverage": {"seen": _dominant(method, seen), "unseen": _dominant(method, unseen)},
        "singular_values": singular_values(features, split),
    }
    plain: dict[str, Any] = json.loads(json.dumps(content))
    return plain


def _posteriors(
    method: Method, features: Tensor, split: Split
) -> tuple[UserPosterior, UserPosterior]:
    """Of seen users by all they trained, of unseen ones by the most answers of the evaluation."""
    data = split.data
    train = pairs_of_users(data, features, split.train, split.seen)
    rows = first_rows(data, split.reference, split.answers)
    return method.infer(train), method.infer(pairs_of_users(data, features, rows, split.unseen))


def _figures(split: Split, users: IntArray, predictions: Predictions) -> dict[str, Any]:
    """Per user of those that are evaluated, in the order of their numbers."""
    logit, user = predictions.logit, predictions.user
    return {
        "users": _keys(split, users[np.unique(user)]),
        "comparisons": np.bincount(user)[np.unique(user)].tolist(),
        "accuracy": _round(per_user(hits(logit), user)),
        "auc": _round(auc_per_user(logit, user)),
        "log_loss": _round(per_user(log_loss(logit), user)),
        "calibration_error": predictions.calibration_error,
    }


def _keys(split: Split, users: IntArray) -> list[str]:
    names = [split.data.user_ids[i] for i in users]
    return [bytes(row).hex() for row in keys_of(names, split.data.digest)[:, :8].numpy()]


def _round(values: Floats) -> list[float]:
    return [round(value, DIGITS) for value in values.tolist()]


def _uncertainty(split: Split, unseen: UserPosterior) -> dict[str, Any] | None:
    """Each unseen user's mean posterior standard deviation; None for a method that gives none."""
    if unseen.uncertainty is None:
        return None
    return {
        "users": _keys(split, split.unseen),
        "sd": _round(unseen.uncertainty.double().numpy()),
    }


def _dominant(method: Method, posterior: UserPosterior) -> list[int] | None:
    """(K,) users by the basis that weighs most, in size; None where there are no bases."""
    weights = method.weights(posterior)
    if weights is None or not method.personal or weights.mean.shape[1] < 2:
        return None
    weight = weights.mean
    counts: list[int] = torch.bincount(weight.abs().argmax(-1), minlength=weight.shape[1]).tolist()
    return counts


def adaptation_ms(method: Method, features: Tensor, split: Split) -> float:
    """Milliseconds a user of inferring 200 users from 10 comparisons each, features at hand.

    The median of several rounds in one thread, after one that is not counted. Unseen users are
    taken again in turn where there are fewer than 200.
    """
    data = split.data
    rows = first_rows(data, split.reference, TIMED_ANSWERS)
    pairs = pairs_of_users(data, features, rows, split.unseen[:TIMED_USERS])
    batch = _repeat_users(pairs, TIMED_USERS)
    seconds = []
    with one_thread():
        for _ in range(TIMED_ROUNDS + 1):
            started = time.perf_counter()
            method.weights(method.infer(batch))
            seconds.append(time.perf_counter() - started)
    return 1e3 * median(seconds[1:]) / TIMED_USERS


def _repeat_users(pairs: PairBatch, users: int) -> PairBatch:
    """The same users again in turn until there are so many."""
    turn = torch.arange(users) % pairs.users
    row, offsets = rows_of_spans(pairs.offsets[turn], pairs.counts[turn])
    prompt = None if pairs.prompt is None else pairs.prompt[row]
    return PairBatch(pairs.features, pairs.chosen[row], pairs.rejected[row], offsets, None, prompt)


def singular_values(features: Tensor, split: Split) -> list[float]:
    """How many directions tastes have: of the training users' mean differences of features (U, D).

    A user's row is weighed by the root of how many comparisons it is the mean of, so that chance
    alone is alike in all; the population's mean is taken out. Shares of the sum of squares.
    """
    data = split.data
    users = np.unique(data.user[split.train])
    pairs = pairs_of_users(data, features, split.train, users)
    delta = pairs.features[pairs.chosen] - pairs.features[pairs.rejected]
    total = torch.zeros(len(users), features.shape[1]).index_add(0, pairs.user, delta)
    counts = pairs.counts[:, None]
    rows = (total / counts - delta.mean(0)) * counts.sqrt()
    share = torch.linalg.svdvals(rows.double()).square()
    return _round((share / share.sum())[:SINGULAR_VALUES].numpy())
