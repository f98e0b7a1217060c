"""A taste that changes half way, on the Attributes world: what forgetting regains, and how fast.

Example: python experiments/drift.py --methods vrf pref --half-lives 4

Unseen users answer 20 questions by their own true weights, then 20 by others: the opposite ones,
or another user's. Accuracy is on texts that nobody trained on, before the change by the old taste,
after it by the new. Lost is the accuracy just before the change minus that just after; regained
after n answers is the share of it that is back.

Ways to treat older answers: all count alike; a half-life in answers; those before a detected drift
are dropped (`palate.honesty.surprise`); each counts what change points give it
(`palate.honesty.change`). A fresh user, of the answers since the change alone, is the bound.
The half-life was chosen on seeds 100 and 101 (`--first-seed 100 --seeds 2`).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import mean

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from palate import PersonalRewardModel, PreferenceData, SplitSettings
from palate.data import Split, make_split
from palate.data.synthetic import AttributesConfig, AttributesWorld, make_attributes_world
from palate.data.synthetic.asking import ask
from palate.evaluation.metrics import hits, per_user
from palate.features import FeatureSource, resolve_backbone
from palate.honesty.change import log_evidence, starts
from palate.honesty.prequential import prequential, spans
from palate.honesty.surprise import detect, threshold_of
from palate.methods import METHODS, Method
from palate.progress import Terminal
from palate.reading import read_texts
from palate.types import Evidence, PairBatch

#: Answers before the change, and the numbers after it at which accuracy is measured.
BEFORE = 20
AFTER = (0, 1, 2, 3, 5, 7, 10, 15, 20)
#: Questions on held-out texts that a user is tested with, under either taste.
TESTS = 40
#: What becomes of the taste half way.
CHANGES = ("opposite", "drawn", "none")
#: Per hundred answers, how often a user whose taste stays is taken for one whose taste changed.
FALSE_ALARMS = 0.05

Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Users:
    """U users who answer BEFORE questions by one taste, then as many as AFTER has by another.

    given: (U (BEFORE + last),) answers. old, new: tests (U TESTS,) under either taste.
    """

    given: PairBatch
    old: PairBatch
    new: PairBatch


def ask_all(
    weights: Integers,
    attributes: Integers,
    pairs: Sequence[Integers],
    count: int,
    world: AttributesWorld,
    rng: np.random.Generator,
) -> list[Integers]:
    """(count, 2) answers of each user with weights (U, 7), each asked about pairs of their own."""
    rewards = weights @ attributes.T
    scale = world.config.scale
    return [ask(r, own, count, scale, rng) for r, own in zip(rewards, pairs, strict=True)]


def make_users(
    world: AttributesWorld, split: Split, features: Tensor, change: str, seed: int
) -> Users:
    """The split's unseen users, asked anew: on training texts, and on evaluation's for the test."""
    data, rng = split.data, np.random.default_rng([seed, 1])
    old = old_weights(world, split)
    new = changed(old, change, rng)
    attributes = np.array([response.attributes for response in world.responses])
    known = pairs_among(world, data, learned_texts(split))
    held_out = pairs_among(world, data, split.evaluation)
    asked = ask_all(old, attributes, [known] * len(old), BEFORE, world, rng)
    remaining = [known[~np.isin(known[:, 0] // 2, first[:, 0] // 2)] for first in asked]
    then = ask_all(new, attributes, remaining, AFTER[-1], world, rng)
    tests = [ask_all(w, attributes, [held_out] * len(w), TESTS, world, rng) for w in (old, new)]
    both = [np.concatenate(answers) for answers in zip(asked, then, strict=True)]
    table = Table.of(world, data, features)
    return Users(*(table.batch(answers) for answers in (both, *tests)))


def old_weights(world: AttributesWorld, split: Split) -> Integers:
    """(U, 7) true weights of the unseen users."""
    return np.stack([world.weights_of(split.data.user_ids[user]) for user in split.unseen])


def learned_texts(split: Split) -> Integers:
    """The rows on whose texts users may be asked."""
    return np.concatenate([split.train, split.reference])


def changed(weights: Integers, change: str, rng: np.random.Generator) -> Integers:
    """The tastes (U, 7) after the change: opposite, drawn from other users, or the same."""
    if change == "opposite":
        return -weights
    if change == "none":
        return weights
    drawn = weights[rng.permutation(len(weights))]
    while (same := (drawn == weights).all(1)).any():
        drawn[same] = weights[rng.choice(len(weights), same.sum())]
    return drawn


def pairs_among(world: AttributesWorld, data: PreferenceData, rows: Integers) -> Integers:
    """(P, 2) the world's pairs whose two responses both occur in these rows."""
    texts = np.unique(np.concatenate([data.chosen[rows], data.rejected[rows]]))
    known = {data.responses[text] for text in texts}
    here = np.array([response.text in known for response in world.responses])
    pairs = np.arange(len(here)).reshape(-1, 2)
    return pairs[here[pairs].all(1)]


@dataclass(frozen=True, eq=False)
class Table:
    """Where the world's responses (R,) and their prompts stand in a table of features (N, D)."""

    features: Tensor
    item: Tensor
    prompt: Tensor | None

    @classmethod
    def of(cls, world: AttributesWorld, data: PreferenceData, features: Tensor) -> Table:
        """The table's rows; responses that the data does not hold have none (-1)."""
        place = {data.responses[r]: item for item, (_, r) in enumerate(data.items.tolist())}
        item = np.array([place.get(response.text, -1) for response in world.responses])
        prompts = len(features) > len(data.items)
        prompt = torch.from_numpy(len(data.items) + data.items[item, 0]) if prompts else None
        return cls(features, torch.from_numpy(item), prompt)

    def batch(self, answers: Sequence[Integers]) -> PairBatch:
        """Users' answers, (n, 2) numbers of the world's responses each."""
        rows = torch.from_numpy(np.concatenate(answers))
        counts = torch.tensor([0, *(len(own) for own in answers)])
        chosen, rejected = self.item[rows].unbind(1)
        prompt = None if self.prompt is None else self.prompt[rows[:, 0]]
        return PairBatch(self.features, chosen, rejected, counts.cumsum(0), prompt=prompt)


#: What a strategy makes of the evidence after n answers since the change.
Strategy = Callable[[int], Evidence]


class Answers:
    """Users' answers as evidence, with every way to treat the older ones."""

    def __init__(self, method: Method, given: PairBatch, seed: int) -> None:
        self.rows = method.evidence(given)
        self.start = given.offsets[:-1]
        self.logit = prequential(method, given).view(given.users, -1)
        generator = torch.Generator().manual_seed(seed)
        before = self.logit[:, :BEFORE].reshape(-1)
        self.threshold = threshold_of(before, generator, rate=FALSE_ALARMS)
        self.log_evidence = log_evidence(method, given, torch.arange(given.users))

    def aged(self, n: int, half_life: float | None) -> Evidence:
        """All answers, an answer's age counted in answers."""
        return spans(self.rows, self.start, self.start + BEFORE + n, half_life)

    def since_drift(self, n: int) -> Evidence:
        """The answers since a drift was first detected; all where none was."""
        seen = self.logit[:, : BEFORE + n]
        offsets = torch.arange(len(seen) + 1) * (BEFORE + n)
        since = detect(seen.reshape(-1), offsets, self.threshold).since.clamp_min(0)
        return spans(self.rows, self.start + since, self.start + BEFORE + n)

    def by_change_points(self, n: int, hazard: float) -> Evidence:
        """All answers, each of the probability that the taste of now gave it."""
        last = BEFORE + n
        evidence = self.log_evidence[:, :last, : last + 1]
        start = starts(evidence, torch.full((len(evidence),), last), hazard)
        plain = self.aged(n, None)
        return Evidence(plain.rows, plain.offsets, start.cumsum(1).clamp_max(1).float().view(-1))

    def fresh(self, n: int) -> Evidence:
        """The answers since the change alone."""
        return spans(self.rows, self.start + BEFORE, self.start + BEFORE + n)

    def strategies(
        self, half_lives: Sequence[float], hazards: Sequence[float]
    ) -> dict[str, Strategy]:
        """Every way by its name."""
        aged = {f"half-life {h:g}": partial(self.aged, half_life=h) for h in half_lives}
        points = {f"hazard {h:g}": partial(self.by_change_points, hazard=h) for h in hazards}
        return {
            "all answers": partial(self.aged, half_life=None),
            **aged,
            "since the drift": self.since_drift,
            **points,
            "fresh user": self.fresh,
        }


def accuracy(method: Method, evidence: Evidence, tests: PairBatch) -> float:
    """Share of tests predicted rightly, per user, then over users."""
    logit = method.margins(method.posterior(evidence), tests).logit.double().numpy()
    return float(per_user(hits(logit), tests.user.numpy()).mean())


@dataclass(frozen=True)
class Course:
    """Accuracy before the change, by the old taste, and after each of AFTER, by the new."""

    before: float
    after: tuple[float, ...]

    def regained(self, lost_by: Course, n: int = 10) -> float:
        """Share of what `lost_by` lost that is back after n answers."""
        lowest = lost_by.after[0]
        return (self.after[AFTER.index(n)] - lowest) / (lost_by.before - lowest)

    @classmethod
    def mean_of(cls, courses: Sequence[Course]) -> Course:
        """The mean over seeds."""
        after = zip(*(course.after for course in courses), strict=True)
        return cls(mean(c.before for c in courses), tuple(mean(values) for values in after))


def courses(method: Method, users: Users, strategies: dict[str, Strategy]) -> dict[str, Course]:
    """The course of every strategy."""
    return {
        name: Course(
            accuracy(method, strategy(0), users.old),
            tuple(accuracy(method, strategy(n), users.new) for n in AFTER),
        )
        for name, strategy in strategies.items()
    }


def train(data: PreferenceData, name: str, features: Tensor, seed: int) -> Method:
    """A method trained on the seed's split."""
    split = SplitSettings(seed=seed)
    model = PersonalRewardModel.train(data, method=name, features=features, split=split, seed=seed)
    return model.method


@dataclass(frozen=True, eq=False)
class Scene:
    """A method trained on a world, and what it reads of it."""

    world: AttributesWorld
    data: PreferenceData
    split: Split
    features: Tensor
    name: str
    method: Method


def scenes(seed: int, names: Sequence[str]) -> Iterator[Scene]:
    """One world with each method in turn."""
    world = make_attributes_world(AttributesConfig(seed=seed))
    data = PreferenceData.load(world.rows)
    source = FeatureSource(resolve_backbone("minilm"))
    split = make_split(data, SplitSettings(seed=seed))
    for name in names:
        settings = METHODS[name].settings_class()
        features = read_texts(source, data, METHODS[name], settings, Terminal()).features
        yield Scene(world, data, split, features, name, train(data, name, features, seed))


def run_seed(seed: int, options: argparse.Namespace) -> dict[tuple[str, str, str], Course]:
    """The courses of one world by change, method and strategy."""
    found = {}
    for scene in scenes(seed, options.methods):
        for change in CHANGES:
            users = make_users(scene.world, scene.split, scene.features, change, seed)
            ways = Answers(scene.method, users.given, seed).strategies(
                options.half_lives, options.hazards
            )
            for way, course in courses(scene.method, users, ways).items():
                found[change, scene.name, way] = course
    return found


def table(seeds: Sequence[dict[tuple[str, str, str], Course]]) -> str:
    """Means over seeds. regained: of what the same way lost; of all: of what all answers lost."""
    after = " ".join(f"{n:>5}" for n in AFTER)
    lines = [f"{'change':9}{'method':7}{'answers':17}before {after}  regained  of all"]
    for change, name, way in seeds[0]:
        mine = Course.mean_of([seed[change, name, way] for seed in seeds])
        plain = Course.mean_of([seed[change, name, "all answers"] for seed in seeds])
        course = " ".join(f"{100 * value:5.1f}" for value in mine.after)
        line = f"{change:9}{name:7}{way:17}{100 * mine.before:6.1f} {course}"
        if change != "none" and way != "fresh user":
            line += f"{100 * mine.regained(mine):10.1f}"
        elif change != "none":
            line += " " * 10
        if change != "none":
            line += f"{100 * mine.regained(plain):8.1f}"
        lines.append(line)
    return "\n".join(lines)


def main() -> None:
    """Print every seed's table, then that of the means."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--methods", nargs="+", default=["vrf", "pref"])
    parser.add_argument("--half-lives", nargs="*", type=float, default=[4.0])
    parser.add_argument("--hazards", nargs="*", type=float, default=[0.1])
    options = parser.parse_args()
    found = []
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        found.append(run_seed(seed, options))
        print(f"seed {seed}\n{table(found[-1:])}\n", flush=True)
    print(f"mean over {len(found)} seeds\n{table(found)}")


if __name__ == "__main__":
    main()
