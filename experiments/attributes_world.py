"""VRF on the Attributes world beside the accuracy of the true rewards, over seeds.

Example: python experiments/attributes_world.py --seeds 5

Each seed draws a world, a split and an initialisation of its own. The true rewards are evaluated on
the very comparisons that the methods are: no method can do better than their accuracy on average.
"""

from __future__ import annotations

import argparse
from statistics import mean

import numpy as np

from palate import PersonalRewardModel, PreferenceData, SplitSettings
from palate.data import Split, make_split
from palate.data.synthetic import AttributesConfig, AttributesWorld, make_attributes_world
from palate.evaluation.metrics import hits, per_user
from palate.features import FeatureSource, resolve_backbone
from palate.progress import Terminal


def true_accuracy(world: AttributesWorld, split: Split) -> dict[str, float]:
    """Accuracy per user of the true rewards on the evaluated comparisons."""
    data = split.data
    weights = np.stack([world.weights_of(user) for user in data.user_ids])
    attributes = np.array([world.attributes_of(str(text)) for text in data.responses])
    rows = split.evaluation
    difference = attributes[data.chosen[rows]] - attributes[data.rejected[rows]]
    right = hits((weights[data.user[rows]] * difference).sum(1).astype(float))
    result = {}
    for name, users in (("seen", split.seen), ("unseen", split.unseen)):
        own = np.isin(data.user[rows], users)
        result[name] = float(per_user(right[own], data.user[rows][own]).mean())
    return result


def main() -> None:
    """Print a line a seed, then the means."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--users", type=int, default=AttributesConfig.users)
    options = parser.parse_args()
    source = FeatureSource(resolve_backbone("minilm"))
    lines = []
    for seed in range(options.seeds):
        world = make_attributes_world(AttributesConfig(users=options.users, seed=seed))
        data = PreferenceData.load(world.rows)
        features = source.encode(data.item_texts(), Terminal()).features
        settings = SplitSettings(seed=seed)
        true = true_accuracy(world, make_split(data, settings))
        line = {"true seen": true["seen"], "true unseen": true["unseen"]}
        for method in ("bt", "vrf"):
            model = PersonalRewardModel.train(
                data, method=method, features=features, split=settings, seed=seed
            )
            figures = model.evaluate(data, features=features).to_json()
            line |= {f"{method} seen": figures["seen"]["accuracy"]}
            line |= {f"{method} n={n}": value for n, value in figures["few_shot"].items()}
            line |= {f"{method} calibration": figures["calibration_error"]}
        lines.append(line)
        print(f"seed {seed}: " + ", ".join(f"{k} {v:.3f}" for k, v in line.items()), flush=True)
    print("\nmean over seeds")
    for name in lines[0]:
        print(f"  {name:16} {mean(line[name] for line in lines):.4f}")
    gap = mean(line["true unseen"] - line["vrf n=20"] for line in lines)
    print(f"\nvrf with 20 comparisons, unseen users: {100 * gap:.2f} points under the true rewards")


if __name__ == "__main__":
    main()
