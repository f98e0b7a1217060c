"""How many answers a good question is worth: chosen questions beside random ones, unseen users.

Example: python experiments/questions.py attributes --method vrf --seeds 5
Example: PALATE_DATA=FOLDER python experiments/questions.py opinions.parquet --prior learned

Unseen users are asked one pair after the other and inferred anew after each answer; accuracy is on
texts that nobody trained on. Last comes the number of random answers whose accuracy 15 chosen ones
have, read off the curve of the random ones between whole numbers.

On a file the pool is the user's own other comparisons, on training texts, and the answers are the
true ones. On the Attributes world it is the world's pairs of training texts, and a user's answer to
a pair is drawn once, as the world draws its own. `--pool asked` has the pairs that the world asks
about, whose true rewards differ for the user; `all` has the others too, where the answer is a
coin's; `texts` any two training texts of one prompt, 4,000 pairs.

`--prior learned` infers weights over the method's bases by Laplace's approximation under a Gaussian
prior, learned from the seen users' answers by EM; `own` is the method's own posterior.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from palate import PreferenceData, SplitSettings
from palate.data import Split, make_split
from palate.data.pairs import pairs_of_users
from palate.data.synthetic import AttributesConfig, AttributesWorld, make_attributes_world
from palate.features import FeatureSource, resolve_backbone
from palate.methods import method_named
from palate.methods.factorised import Factorised
from palate.methods.laplace import logistic_mode
from palate.progress import Terminal
from palate.questions import RULES, score
from palate.reading import read_texts
from palate.settings import build, parse_assignments
from palate.tuning import learn
from palate.types import Evidence, PairBatch, WeightDistribution

SHOWN = (0, 1, 3, 5, 10, 15, 20, 30, 40)
CHOSEN = 15
#: Random answers that a curve goes up to.
MOST = 80
#: Pairs of `--pool texts`.
TEXT_PAIRS = 4000
#: Rounds of EM for the learned prior; it moves no more after about ten.
EM_ROUNDS = 15
#: Directions with less than this share of the differences' largest spread have no weight.
FLAT = 1e-4

Floats = NDArray[np.float64]
#: From what t answers of U users say, rows (U, t, E), to their weights.
Infer = Callable[[Tensor], WeightDistribution]


@dataclass(frozen=True, eq=False)
class Pool:
    """What U users can be asked. pairs: (P,) or (U, P) places in `batch`, first response as chosen.

    open: (U, P) whether a pair may be asked. chance: (U, P) that the first response is preferred.
    """

    batch: PairBatch
    pairs: Tensor
    open: Tensor
    chance: Tensor


@dataclass(frozen=True, eq=False)
class Trial:
    """A pool as a method sees it: delta (P, K) or (U, P, K), says (2, ..., E) evidence of the first
    or the second response being preferred, and the evaluated differences (U, M, K) with a mask."""

    pool: Pool
    delta: Tensor
    says: Tensor
    infer: Infer
    tests: Tensor
    tested: Tensor


# -- pools ------------------------------------------------------------------------------------


def own_pool(split: Split, features: Tensor) -> Pool:
    """Each unseen user's own comparisons on training texts."""
    batch = pairs_of_users(split.data, features, split.reference, split.unseen)
    places, asked = grouped(torch.arange(len(batch)), batch.counts)
    return Pool(batch, places, asked, torch.ones(asked.shape))


def world_pool(
    world: AttributesWorld, split: Split, features: Tensor, kind: str, seed: int
) -> Pool:
    """The world's pairs of training texts, or any two of one prompt."""
    data = split.data
    trained = np.unique(np.concatenate([data.chosen[split.train], data.rejected[split.train]]))
    texts = {str(data.responses[i]) for i in trained}
    items = {str(data.responses[r]): i for i, (_, r) in enumerate(data.items.tolist())}
    known = np.array([r.text in texts for r in world.responses])
    pairs = np.arange(len(world.responses)).reshape(-1, 2)
    if kind == "texts":
        pairs = any_two(world, np.flatnonzero(known), seed)
    pairs = pairs[known[pairs].all(1)]
    rows = torch.tensor([[items[world.responses[i].text] for i in pair] for pair in pairs])
    batch = PairBatch(features, rows[:, 0], rows[:, 1], torch.tensor([0, len(rows)]))
    attributes = np.array([response.attributes for response in world.responses])
    tastes = np.stack([world.weights_of(data.user_ids[u]) for u in split.unseen])
    margin = torch.from_numpy(tastes @ (attributes[pairs[:, 0]] - attributes[pairs[:, 1]]).T)
    chance = torch.sigmoid(world.config.scale * margin.float())
    asked = margin != 0 if kind == "asked" else torch.ones_like(margin, dtype=torch.bool)
    return Pool(batch, torch.arange(len(rows)), asked, chance)


def any_two(world: AttributesWorld, known: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Pairs (TEXT_PAIRS, 2) of different responses to one prompt, drawn evenly."""
    prompt = np.array([world.responses[i].prompt for i in known])
    first, second = np.nonzero(np.triu(prompt[:, None] == prompt[None, :], 1))
    rng = np.random.default_rng(seed)
    drawn = rng.choice(len(first), TEXT_PAIRS, replace=False)
    return rng.permuted(known[np.stack([first[drawn], second[drawn]], axis=1)], axis=1)


def grouped(values: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Values (B, ...) of users one after the other as (U, most, ...), and which are there."""
    present = torch.arange(int(counts.max()))[None] < counts[:, None]
    table = values.new_zeros(*present.shape, *values.shape[1:])
    table[present] = values
    return table, present


# -- inference --------------------------------------------------------------------------------


def evidence_of(rows: Tensor) -> Evidence:
    """Rows (U, t, E) as evidence."""
    users, answers = rows.shape[:2]
    return Evidence(rows.flatten(0, 1), torch.arange(users + 1) * answers)


def own_posterior(method: Factorised, rows: Tensor) -> WeightDistribution:
    """Weights by the method itself."""
    return method.weights(method.posterior(evidence_of(rows)))


@dataclass(frozen=True, eq=False)
class LearnedPrior:
    """N(mean, covariance) of weights over bases `basis` (K, k), in which differences are white."""

    basis: Tensor
    mean: Tensor
    covariance: Tensor

    @classmethod
    def of(cls, delta: Tensor, offsets: Tensor) -> LearnedPrior:
        """From seen users' answers, differences of basis rewards (B, K), by EM on Laplace's q."""
        values, axes = torch.linalg.eigh((delta.T @ delta / len(delta)).double())
        kept = values > FLAT * values[-1]
        basis = axes[:, kept] / values[kept].sqrt()
        answers = Evidence((delta.double() @ basis).float(), offsets)
        location = torch.zeros(basis.shape[1], dtype=torch.float64)
        covariance = torch.eye(basis.shape[1], dtype=torch.float64)
        for _ in range(EM_ROUNDS):
            mode = logistic_mode(answers, location, torch.linalg.inv(covariance))
            weights = mode.mean.double()
            location = weights.mean(0)
            away = weights - location
            covariance = mode.covariance.double().mean(0) + away.T @ away / len(away)
        return cls(basis.float(), location.float(), covariance.float())

    def posterior(self, rows: Tensor) -> WeightDistribution:
        """Weights over the white bases from differences (U, t, k)."""
        if not rows.shape[1]:
            size = len(rows), -1, -1
            return WeightDistribution(
                self.mean.expand(len(rows), -1), self.covariance.expand(*size)
            )
        mode = logistic_mode(evidence_of(rows), self.mean, torch.linalg.inv(self.covariance))
        return WeightDistribution(mode.mean, mode.covariance)


@torch.no_grad()
def make_trial(method: Factorised, split: Split, features: Tensor, pool: Pool, prior: str) -> Trial:
    """What the method says of every pair of the pool, whichever way it is answered."""
    batch = pool.batch
    swapped = PairBatch(batch.features, batch.rejected, batch.chosen, batch.offsets)
    rewards = method.basis_rewards(features)
    delta = (rewards[batch.chosen] - rewards[batch.rejected])[pool.pairs]
    tests = pairs_of_users(split.data, features, split.evaluation, split.unseen)
    difference, tested = grouped(rewards[tests.chosen] - rewards[tests.rejected], tests.counts)
    if prior == "own":
        says = torch.stack([method.evidence(batch), method.evidence(swapped)])[:, pool.pairs]
        return Trial(pool, delta, says, partial(own_posterior, method), difference, tested)
    users = np.unique(split.data.user[split.train])
    train = pairs_of_users(split.data, features, split.train, users)
    learned = LearnedPrior.of(rewards[train.chosen] - rewards[train.rejected], train.offsets)
    delta, difference = delta @ learned.basis, difference @ learned.basis
    says = torch.stack([delta, -delta])
    return Trial(pool, delta, says, learned.posterior, difference, tested)


# -- asking -----------------------------------------------------------------------------------


@torch.no_grad()
def curve(trial: Trial, rule: str, answers: int, seed: int) -> Floats:
    """(answers + 1,) accuracy of unseen users by the number of questions asked.

    A user's answer to a pair, and the order of random questions, are drawn from the seed.
    """
    generator = torch.Generator().manual_seed(seed)
    shape = trial.pool.open.shape
    second = (torch.rand(shape, generator=generator) >= trial.pool.chance).long()
    order = torch.rand(shape, generator=generator)
    still_open = trial.pool.open.clone()
    user = torch.arange(shape[0])
    rows = trial.says.new_zeros(shape[0], 0, trial.says.shape[-1])
    weights = trial.infer(rows)
    found = [accuracy(trial, weights)]
    for _ in range(answers):
        worth = order if rule == "random" else score(weights, trial.delta, rule)
        asked = torch.where(still_open, worth, -torch.inf).argmax(1)
        left = still_open[user, asked]
        answer = second[user, asked]
        shared = trial.says.ndim == 3
        said = trial.says[answer, asked] if shared else trial.says[answer, user, asked]
        said = said * left[:, None]  # an empty pool says nothing more
        still_open[user, asked] = False
        rows = torch.cat([rows, said[:, None]], dim=1)
        weights = trial.infer(rows)
        found.append(accuracy(trial, weights))
    return np.array(found)


def accuracy(trial: Trial, weights: WeightDistribution) -> float:
    """Percent of the evaluated comparisons predicted rightly, per user, then over users."""
    margin = (trial.tests @ weights.mean[..., None])[..., 0]
    right = (margin > 0).double() + 0.5 * (margin == 0).double()
    count = trial.tested.sum(1)
    per_user = (right * trial.tested).sum(1)[count > 0] / count[count > 0]
    return 100 * float(per_user.mean())


def random_equal(chosen: Floats, random: Floats, answers: int = CHOSEN) -> float:
    """How many random answers reach what the chosen ones do; the curve's end where none does."""
    reached = np.maximum.accumulate(random)
    target = chosen[min(answers, len(chosen) - 1)]
    if target >= reached[-1]:
        return float(len(random) - 1)
    after = int(np.searchsorted(reached, target, side="right"))
    if after == 0:
        return 0.0
    return after - 1 + float((target - reached[after - 1]) / (reached[after] - reached[after - 1]))


# -- the experiment ---------------------------------------------------------------------------


def load(name: str, seed: int) -> tuple[PreferenceData, AttributesWorld | None]:
    """Comparisons of a file, maybe in the folder PALATE_DATA, or of the world of a seed."""
    if name == "attributes":
        world = make_attributes_world(AttributesConfig(seed=seed))
        return PreferenceData.load(world.rows), world
    path = Path(name)
    return PreferenceData.load(
        path if path.is_file() else Path(os.environ.get("PALATE_DATA", ".")) / name
    ), None


def run(options: argparse.Namespace, seed: int) -> dict[str, Floats]:
    """Curves of one seed by rule."""
    data, world = load(options.data, seed)
    method_class = method_named(options.method)
    settings = build(method_class.settings_class, parse_assignments(options.set))
    source = FeatureSource(resolve_backbone("minilm"))
    features = read_texts(source, data, method_class, settings, Terminal()).features
    split = make_split(data, SplitSettings(seed=seed))
    if options.validation:
        validation = split.validation()
        assert validation is not None
        split = validation
    method = learn(method_class, settings, features, split, seed=seed).fitted.method
    if not isinstance(method, Factorised):
        raise SystemExit(f"{options.method} has no weights over bases")
    if world is None:
        pool = own_pool(split, features)
    else:
        pool = world_pool(world, split, features, options.pool, seed)
    trial = make_trial(method, split, features, pool, options.prior)
    curves = {}
    for rule in options.rules:
        answers = MOST if rule == "random" else SHOWN[-1]
        repeats = options.repeats if rule == "random" else 1
        runs = [curve(trial, rule, answers, 1000 * seed + i) for i in range(repeats)]
        curves[rule] = np.mean(runs, axis=0)
    return curves


def line(name: str, found: Floats, equal: Sequence[float]) -> str:
    """A rule's accuracies, and what its 15 answers are worth."""
    points = " ".join(f"{n}:{found[n]:.1f}" for n in SHOWN if n < len(found))
    worth = f"{mean(equal):.1f}" + (f" ± {stdev(equal):.1f}" if len(equal) > 1 else "")
    return f"  {name:12} {points}  {CHOSEN} = {worth} random"


def main() -> None:
    """Print a line a rule and seed, then the means."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("data", help="'attributes', or a file of comparisons")
    parser.add_argument("--method", default="vrf")
    parser.add_argument("--prior", choices=("own", "learned"), default="own")
    parser.add_argument("--pool", choices=("asked", "all", "texts"), default="asked")
    parser.add_argument("--rules", nargs="+", choices=tuple(RULES), default=list(RULES))
    parser.add_argument("--set", action="append", default=[], help="a setting, name=value")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3, help="random orders that are averaged")
    parser.add_argument("--validation", action="store_true", help="on the validation division")
    parser.add_argument("--out", type=Path, help="file for the curves (JSON)")
    options = parser.parse_args()
    options.rules = list(dict.fromkeys(["random", *options.rules]))
    curves: dict[str, list[Floats]] = {rule: [] for rule in options.rules}
    worth: dict[str, list[float]] = {rule: [] for rule in options.rules}
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        print(f"seed {seed}", flush=True)
        found = run(options, seed)
        for rule, values in found.items():
            curves[rule].append(values)
            worth[rule].append(random_equal(values, found["random"]))
            print(line(rule, values, worth[rule][-1:]), flush=True)
    print(f"\nmean over {options.seeds} seeds; of the mean curves, 15 chosen are worth")
    means = {rule: np.mean(values, axis=0) for rule, values in curves.items()}
    for rule, values in means.items():
        total = random_equal(values, means["random"])
        print(f"{line(rule, values, worth[rule])}; of the means {total:.1f}")
    if options.out:
        content = {rule: [c.tolist() for c in values] for rule, values in curves.items()}
        options.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
