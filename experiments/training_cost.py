"""Time and memory of the main job from cached features, and of adapting 10,000 users.

Example: python experiments/training_cost.py data/opinions.parquet

The file is encoded first, if it is not in the cache. Then `palate train` runs as its user would run
it, in a process of its own: seconds until it starts training, seconds in all, most memory held.
Adapting is timed in this process: 10,000 users with 10 answers each, features at hand.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from palate import PersonalRewardModel, PreferenceData
from palate.features import FeatureSource, resolve_backbone
from palate.progress import Terminal
from palate.types import PairBatch

USERS, ANSWERS = 10_000, 10


def train_as_a_user(file: Path, out: Path) -> None:
    """Run `palate train` and print what it took."""
    command = [sys.executable, "-c", "from palate.cli import main; main()"]
    command += ["train", str(file), "--out", str(out), "--json"]
    started = time.monotonic()
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    whole = time.monotonic() - started
    report = json.loads(run.stdout)
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    training = report["seconds"]["training"]
    print(f"texts encoded now: {report['encoding']['encoded_now']}")
    print(f"seconds before training starts: {whole - training:.1f}")
    print(f"seconds of training, with the choice on validation: {training:.1f}")
    print(f"most memory: {memory:.0f} MB")


def adapt_many(model: PersonalRewardModel, features: torch.Tensor) -> None:
    """Time the inference of many users' posteriors and weights."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randint(0, len(features), (2, USERS * ANSWERS), generator=generator)
    offsets = torch.arange(0, USERS * ANSWERS + 1, ANSWERS)
    started = time.monotonic()
    posterior = model.method.infer(PairBatch(features, rows[0], rows[1], offsets))
    model.method.weights(posterior)
    seconds = time.monotonic() - started
    print(
        f"adapting {USERS:,} users with {ANSWERS} answers each: {seconds:.2f} s, "
        f"{1e6 * seconds / USERS:.0f} microseconds a user"
    )


def main() -> None:
    """Measure on one file of comparisons."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("file", type=Path)
    file = parser.parse_args().file
    data = PreferenceData.load(file)
    features = FeatureSource(resolve_backbone("minilm")).encode(data.item_texts(), Terminal())
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "model"
        train_as_a_user(file, out)
        adapt_many(PersonalRewardModel.load(out), features.features)


if __name__ == "__main__":
    main()
