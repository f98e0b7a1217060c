"""Accuracy of BT and VRF on comparisons, seen and unseen users, over seeds.

Example: python experiments/main_job.py data/opinions.parquet data/arguments.parquet --seeds 5

Every seed draws its own split and initialisation; a method never sees the evaluated texts. The
table gives the mean over seeds with the standard deviation, and VRF minus BT seed by seed.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from palate import PersonalRewardModel, PreferenceData, SplitSettings
from palate.features import FeatureSource, resolve_backbone
from palate.progress import Terminal

METHODS = ("bt", "vrf")


def figures(data: PreferenceData, seed: int, kind: str) -> dict[str, Any]:
    """Every method's evaluation on the split of one seed."""
    encoded = FeatureSource(resolve_backbone("minilm")).encode(data.item_texts(), Terminal())
    result = {}
    for method in METHODS:
        model = PersonalRewardModel.train(
            data,
            method=method,
            features=encoded.features,
            split=SplitSettings(kind="groups" if kind == "groups" else "users", seed=seed),
            seed=seed,
        )
        result[method] = model.evaluate(data, features=encoded.features).to_json()
        result[method]["seconds"] = model.report["seconds"]["training"]
    return result


def spread(values: list[float]) -> str:
    """Mean and standard deviation in percent."""
    deviation = stdev(values) if len(values) > 1 else 0.0
    return f"{100 * mean(values):6.2f} ± {100 * deviation:4.2f}"


def report(name: str, runs: list[dict[str, Any]]) -> None:
    """Print the table of one data set."""
    print(f"\n{name}: accuracy in percent, mean ± standard deviation over {len(runs)} seeds")
    shots = list(runs[0]["vrf"]["few_shot"])
    print(f"{'':10}{'seen':>16}{'unseen':>16}" + "".join(f"{'n=' + n:>16}" for n in shots))
    rows = {
        method: [[run[method]["seen"]["accuracy"] for run in runs]]
        + [[run[method]["unseen"]["accuracy"] for run in runs]]
        + [[run[method]["few_shot"][n] for run in runs] for n in shots]
        for method in METHODS
    }
    for method, columns in rows.items():
        print(f"{method:10}" + "".join(f"{spread(column):>16}" for column in columns))
    lead = [
        [v - b for v, b in zip(vs, bs, strict=True)]
        for vs, bs in zip(rows["vrf"], rows["bt"], strict=True)
    ]
    print(f"{'vrf - bt':10}" + "".join(f"{spread(column):>16}" for column in lead))
    for method in METHODS:
        losses = [run[method]["log_loss"] for run in runs]
        errors = [run[method]["calibration_error"] for run in runs]
        seconds = [run[method]["seconds"] for run in runs]
        print(
            f"{method}: unseen log-loss {mean(losses):.4f}, calibration error {mean(errors):.4f} "
            f"(highest {max(errors):.4f}), training {mean(seconds):.0f} s"
        )


def main() -> None:
    """Run every data set with every seed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--split", choices=("users", "groups"), default="users")
    parser.add_argument("--out", type=Path, help="also write every figure as JSON")
    options = parser.parse_args()
    everything = {}
    for file in options.files:
        data = PreferenceData.load(file)
        runs = [figures(data, seed, options.split) for seed in range(options.seeds)]
        everything[file.stem] = runs
        report(f"{file.stem}, split by {options.split}", runs)
    if options.out:
        options.out.write_text(json.dumps(everything, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
