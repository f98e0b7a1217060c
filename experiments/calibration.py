"""How honest probabilities are: unseen users after 1, 5 and 20 answers, all seeds together.

Example: python experiments/calibration.py experiments/opinions.yaml --rows brf vrf

Every row is trained on every seed's split with its settings. The calibration error is over 15 bins
of equal count, of the seeds' comparisons together: of one seed alone chance makes 0.02 to 0.03 of
it. Ten bins of confidence hold a tenth of the comparisons each.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from palate.bench.experiment import Experiment
from palate.bench.experiment_file import read_experiment
from palate.bench.material import Materials, Place
from palate.evaluation.evaluate import evaluate_few_shot
from palate.evaluation.metrics import Floats, calibration_error, hits
from palate.methods import method_named
from palate.progress import Terminal
from palate.settings import build
from palate.tuning import learn

ANSWERS = (0, 1, 5, 20)


def logits(experiment: Experiment, label: str, materials: Materials) -> dict[int, list[Floats]]:
    """Logits of evaluated comparisons by number of answers, an array a seed."""
    row = experiment.rows[label]
    method_class = method_named(row.method)
    found: dict[int, list[Floats]] = {answers: [] for answers in ANSWERS}
    for seed in experiment.seeds:
        settings = build(method_class.settings_class, row.settings_of(seed))
        data = materials.data(experiment.data, seed)
        split = materials.split(experiment.data, experiment.split, seed)
        features = materials.features(data, experiment.backbone, method_class, settings)
        method = learn(method_class, settings, features, split, seed=seed).fitted.method
        of_unseen = (split.reference, split.evaluation, split.unseen, ANSWERS)
        shots = evaluate_few_shot(method, features, data, *of_unseen)
        for answers, predictions in shots.items():
            found[answers].append(predictions.logit)
    return found


def by_confidence(logit: Floats, bins: int) -> Floats:
    """(bins,) share predicted rightly, from the least confident comparisons to the most."""
    right = hits(logit)[np.argsort(np.abs(logit), kind="stable")]
    return np.array([part.mean() for part in np.array_split(right, bins)])


def main() -> None:
    """Print a block a row."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("experiment", type=Path)
    parser.add_argument("--rows", nargs="+", default=["brf"])
    options = parser.parse_args()
    experiment = read_experiment(options.experiment)
    materials = Materials(Place(options.experiment.parent, {}), Terminal())
    for label in options.rows:
        found = logits(experiment, label, materials)
        print(f"{label} on {experiment.title}, seeds {', '.join(map(str, experiment.seeds))}")
        for answers, parts in found.items():
            logit = np.concatenate(parts)
            alone = ", ".join(f"{calibration_error(part):.3f}" for part in parts)
            accuracy, (_, top) = hits(logit).mean(), by_confidence(logit, 2)
            tenths = " ".join(f"{100 * share:.1f}" for share in by_confidence(logit, 10))
            print(
                f"  {answers:2d} answers: calibration error {calibration_error(logit):.4f} "
                f"(alone {alone}); accuracy {100 * accuracy:.1f}, confident half {100 * top:.1f} "
                f"({100 * (top - accuracy):+.1f}); by tenths {tenths}"
            )


if __name__ == "__main__":
    main()
