"""After a taste has changed: chosen questions beside random ones, with and without ageing.

Example: python experiments/drift_questions.py --methods vrf --half-lives 4 6

The users of `drift.py`, asked one question at a time: the one that teaches most of the user as the
posterior of aged answers has them (`palate.questions`), or a random one. Only pairs are asked whose
true rewards differ under the new taste, as everywhere in this world, and none twice.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
import torch
from drift import (
    AFTER,
    BEFORE,
    Course,
    Integers,
    Table,
    Users,
    accuracy,
    changed,
    learned_texts,
    make_users,
    old_weights,
    pairs_among,
    scenes,
)
from torch import Tensor

from palate.data import Split
from palate.data.synthetic import AttributesWorld
from palate.data.synthetic.asking import ask
from palate.honesty.prequential import spans
from palate.methods.factorised import Factorised
from palate.questions import score
from palate.types import PairBatch

MOST = 10
STEPS = tuple(n for n in AFTER if n <= MOST)


class Dialogue:
    """U users who are asked question after question on the pairs (P, 2) of known texts."""

    def __init__(
        self, world: AttributesWorld, split: Split, users: Users, table: Table, new: Integers
    ) -> None:
        self.pairs = pairs_among(world, split.data, learned_texts(split))
        self.table, self.scale = table, world.config.scale
        attributes = np.array([response.attributes for response in world.responses])
        self.rewards = new @ attributes.T
        values = self.rewards[:, self.pairs]
        self.open = torch.from_numpy(values[..., 0] != values[..., 1])
        given = users.given
        self.chosen, self.rejected = (
            column.view(given.users, -1)[:, :BEFORE] for column in (given.chosen, given.rejected)
        )
        pair = torch.full((len(table.features),), -1)
        for side in (0, 1):
            pair[table.item[self.pairs[:, side]]] = torch.arange(len(self.pairs))
        self.open[torch.arange(given.users)[:, None], pair[self.chosen]] = False

    def answers(self) -> PairBatch:
        """All that was answered so far, user after user."""
        users, count = self.chosen.shape
        offsets = torch.arange(users + 1) * count
        columns = self.chosen.reshape(-1), self.rejected.reshape(-1)
        return PairBatch(self.table.features, *columns, offsets)

    def ask(self, worth: Tensor, rng: np.random.Generator) -> None:
        """Ask every user the open question of most worth (U, P), and take the answer down."""
        best = worth.masked_fill(~self.open, -torch.inf).argmax(1)
        self.open[torch.arange(len(best)), best] = False
        answers = [
            ask(rewards, self.pairs[[pair]], 1, self.scale, rng)
            for rewards, pair in zip(self.rewards, best.tolist(), strict=True)
        ]
        items = self.table.item[np.concatenate(answers)]
        self.chosen = torch.cat([self.chosen, items[:, :1]], dim=1)
        self.rejected = torch.cat([self.rejected, items[:, 1:]], dim=1)

    def course(
        self,
        method: Factorised,
        users: Users,
        half_life: float | None,
        rule: str,
        rng: np.random.Generator,
    ) -> Course:
        """Ask MOST questions by a rule; accuracy before the change and after some of them."""
        rewards = method.basis_rewards(self.table.features)
        first, second = self.table.item[self.pairs].unbind(1)
        delta = rewards[first] - rewards[second]
        after = []
        for n in range(MOST + 1):
            answers = self.answers()
            start, end = answers.offsets[:-1], answers.offsets[1:]
            evidence = spans(method.evidence(answers), start, end, half_life)
            if n == 0:
                before = accuracy(method, evidence, users.old)
            if n in STEPS:
                after.append(accuracy(method, evidence, users.new))
            worth = torch.from_numpy(rng.random(self.open.shape))
            if rule != "random":
                worth = score(method.weights(method.posterior(evidence)), delta, rule)
            self.ask(worth, rng)
        return Course(before, tuple(after))


Found = dict[tuple[str, str, str, str], Course]


@torch.no_grad()
def run_seed(seed: int, options: argparse.Namespace) -> Found:
    """The courses of one world by change, method, half-life and rule."""
    found = {}
    for scene in scenes(seed, options.methods):
        world, split, method = scene.world, scene.split, scene.method
        assert isinstance(method, Factorised)
        for change in ("opposite", "drawn"):
            users = make_users(world, split, scene.features, change, seed)
            new = changed(old_weights(world, split), change, np.random.default_rng([seed, 1]))
            for half_life in (None, *options.half_lives):
                for rule in options.rules:
                    table = Table.of(world, scene.data, scene.features)
                    dialogue = Dialogue(world, split, users, table, new)
                    rng = np.random.default_rng([seed, 2])
                    course = dialogue.course(method, users, half_life, rule, rng)
                    way = "all answers" if half_life is None else f"half-life {half_life:g}"
                    found[change, scene.name, way, rule] = course
    return found


def lines(seeds: Sequence[Found]) -> str:
    """Means over seeds, a line a way."""
    result = []
    for key in seeds[0]:
        course = Course.mean_of([seed[key] for seed in seeds])
        after = " ".join(f"{100 * value:5.1f}" for value in course.after)
        regained = 100 * course.regained(course)
        names = f"{key[0]:9}{key[1]:7}{key[2]:14}{key[3]:13}"
        result.append(f"{names}{100 * course.before:6.1f} {after} regained {regained:6.1f}")
    return "\n".join(result)


def main() -> None:
    """Print every seed's lines, then the means."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--methods", nargs="+", default=["vrf", "pref"])
    parser.add_argument("--half-lives", nargs="*", type=float, default=[4.0, 6.0])
    parser.add_argument("--rules", nargs="+", default=["information", "random"])
    options = parser.parse_args()
    found = []
    print("accuracy before, then after answers " + " ".join(map(str, STEPS)))
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        found.append(run_seed(seed, options))
        print(f"seed {seed}\n{lines(found[-1:])}\n", flush=True)
    print(f"mean over {len(found)} seeds\n{lines(found)}")


if __name__ == "__main__":
    main()
