"""Win rates on the Attributes world, by its own truth: best-of-N and value-augmented sampling.

Example: python experiments/align_attributes.py --seeds 5

Each seed draws a world, a split and an initialisation of its own. Unseen users answer 5, 10 and 20
comparisons on training texts; the small policy then writes for each of them. An answer wins over a
plain one where the user's true reward of it is higher, read off the text by the world's rules
(`palate.alignment.rule_world`); equal rewards are half a win. Every answer is set against 8 plain
ones of its prompt. Intervals are 95%, by a bootstrap over users within the seeds.

Ways to answer: the best of 16 and of 4 plain samples by the user's expected reward; one sample
moved by the user's values; the best of 16 by one reward for everybody (`bt`). The
processor time of value-augmented sampling is measured in turns with plain sampling's.
The values' temperature was chosen on seed 100 (`--first-seed 100 --seeds 1 --temperatures ...`).
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from palate import PersonalRewardModel, PreferenceData, SplitSettings
from palate.alignment.episodes import draw_episodes
from palate.alignment.local import LocalPolicy
from palate.alignment.policy import Request
from palate.alignment.rule_world import attributes_of
from palate.alignment.small import small_policy
from palate.alignment.value_sampling import Steering, SteeringSettings
from palate.alignment.value_training import ValueSettings, learn_values
from palate.alignment.values import ValueHeads
from palate.data import Split, make_split
from palate.data.pairs import first_rows, pairs_of_users
from palate.data.synthetic import AttributesConfig, AttributesWorld, make_attributes_world
from palate.evaluation.bootstrap import resample
from palate.features import FeatureSource, resolve_backbone
from palate.methods.factorised import Factorised
from palate.progress import Terminal
from palate.types import WeightDistribution

ANSWERS = (5, 10, 20)
#: Plain answers that each one is set against, and candidates of a prompt that users draw theirs of.
PLAIN, POOL = 8, 24
BEST_OF = (4, 16)
MAX_TOKENS = 96
#: Requests of the timing and tokens of each, and how often both ways are timed.
TIMED, TIMED_TOKENS, REPEATS = 128, 48, 5

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Scene:
    """What one seed's users are evaluated on.

    tastes: (U, 7) true weights. prompts: (U, P) numbers of the world's prompts. plain: (prompts,
    PLAIN, 7) and pool: (prompts, POOL, 7) attributes of plain answers; drawn: (U, P, 16) places in
    the pool. pool_texts: the pool's answers with their prompts, one prompt after the other.
    """

    world: AttributesWorld
    tastes: Tensor
    prompts: Tensor
    plain: Tensor
    pool: Tensor
    drawn: Tensor
    pool_texts: list[tuple[str, str]]


# -- the parts of a seed ----------------------------------------------------------------------


def make_scene(
    world: AttributesWorld, split: Split, policy: LocalPolicy, options: Options
) -> Scene:
    """Plain samples of every prompt, and which of them each unseen user gets as candidates."""
    seed = world.config.seed
    requests = [
        Request(prompt, PLAIN + POOL, max_tokens=MAX_TOKENS, seed=1000 * seed + number)
        for number, prompt in enumerate(world.prompts)
    ]
    sampled = policy.sample_many(requests, progress=Terminal())
    read = torch.tensor([[attributes_of(text) for text in one.texts] for one in sampled]).float()
    texts = [
        (prompt, text)
        for prompt, one in zip(world.prompts, sampled, strict=True)
        for text in one.texts[PLAIN:]
    ]
    users = split.unseen[: options.users]
    generator = torch.Generator().manual_seed(seed)
    chance = torch.rand(len(users), len(world.prompts), generator=generator)
    prompts = chance.argsort(1)[:, : options.prompts]
    drawn = torch.rand(*prompts.shape, POOL, generator=generator).argsort(-1)
    ids = [split.data.user_ids[user] for user in users]
    tastes = torch.from_numpy(np.stack([world.weights_of(user) for user in ids])).float()
    plain, pool = read[:, :PLAIN], read[:, PLAIN:]
    return Scene(world, tastes, prompts, plain, pool, drawn[..., : BEST_OF[-1]], texts)


def win_rates(scene: Scene, attributes: Tensor) -> Floats:
    """(U,) of answers with attributes (U, P, 7) over the plain answers of their prompts."""
    reward = torch.einsum("upa,ua->up", attributes, scene.tastes)
    other = torch.einsum("upja,ua->upj", scene.plain[scene.prompts], scene.tastes)
    wins = (reward[..., None] > other).double() + 0.5 * (reward[..., None] == other).double()
    found: Floats = wins.mean((1, 2)).numpy()
    return found


def best_of(scene: Scene, rewards: Tensor, count: int) -> Tensor:
    """(U, P, 7) attributes of the best of each user's first candidates, by rewards (U, texts)."""
    table = rewards.reshape(len(scene.tastes), -1, POOL)
    own = table.gather(1, scene.prompts[..., None].expand(-1, -1, POOL))
    drawn = scene.drawn[..., :count]
    chosen = drawn.gather(-1, own.gather(-1, drawn).argmax(-1, keepdim=True))[..., 0]
    return scene.pool[scene.prompts, chosen]


def user_weights(
    method: Factorised, split: Split, features: Tensor, answers: int, users: int
) -> WeightDistribution:
    """Unseen users' weights after their first answers."""
    rows = first_rows(split.data, split.reference, answers)
    given = pairs_of_users(split.data, features, rows, split.unseen[:users])
    return method.weights(method.infer(given))


def learned_values(
    model: PersonalRewardModel, policy: LocalPolicy, world: AttributesWorld, options: Options
) -> ValueHeads:
    """Values of this model's bases, from plain samples of their own."""
    each = options.episodes // len(world.prompts)
    requests = [
        Request(prompt, each, max_tokens=MAX_TOKENS, seed=500_000 + 1000 * world.config.seed + i)
        for i, prompt in enumerate(world.prompts)
    ]
    episodes = draw_episodes(model, policy, requests, Terminal())
    embedding = policy.model.get_input_embeddings().weight.detach().float()
    learned = learn_values(episodes, embedding, ValueSettings(trace=options.trace), Terminal())
    shown = ", ".join(f"{k} {v:.3g}" for k, v in learned.report.items())
    print(f"  values: {shown}", flush=True)
    return learned.heads


def requests_of(scene: Scene) -> list[Request]:
    """One answer to each prompt of each user."""
    seed = 900_000 + 10_000 * scene.world.config.seed
    return [
        Request(scene.world.prompts[number], max_tokens=MAX_TOKENS, seed=seed + i)
        for i, number in enumerate(scene.prompts.flatten().tolist())
    ]


def value_sampled(
    scene: Scene, policy: LocalPolicy, heads: ValueHeads, weights: Tensor, temperature: float
) -> Tensor:
    """(U, P, 7) attributes of one value-augmented answer for each user and prompt."""
    rows = weights.repeat_interleave(scene.prompts.shape[1], 0)
    guide = Steering(heads, rows, SteeringSettings(temperature=temperature))
    sampled = policy.sample_many(requests_of(scene), guide, Terminal())
    read = torch.tensor([attributes_of(one.texts[0]) for one in sampled]).float()
    return read.reshape(*scene.prompts.shape, -1)


def time_ratio(
    scene: Scene, policy: LocalPolicy, heads: ValueHeads, weights: Tensor, temperature: float
) -> tuple[float, float]:
    """Processor time of value-augmented over plain sampling: at equal lengths, and as it comes.

    Values make answers longer or shorter, by what users like; so every answer is written to its
    limit in the first. Medians of repeats in turns; other programs on the machine do not count.
    """
    requests = [replace(one, max_tokens=TIMED_TOKENS) for one in requests_of(scene)[:TIMED]]
    rows = weights.repeat_interleave(scene.prompts.shape[1], 0)[:TIMED]
    guide = Steering(heads, rows, SteeringSettings(temperature=temperature))
    ends, ratios = policy.ends, []
    for end in ([policy.pad], ends):  # no answer is ended by what only fills a row
        policy.ends = end
        spent = [[seconds(policy, requests, way) for way in (None, guide)] for _ in range(REPEATS)]
        ratios.append(median(moved / plain for plain, moved in spent))
    policy.ends = ends
    return ratios[0], ratios[1]


def seconds(policy: LocalPolicy, requests: list[Request], guide: Steering | None) -> float:
    """Processor time of writing the answers."""
    started = time.process_time()
    policy.write(requests, guide)
    return time.process_time() - started


# -- the experiment ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Options:
    """What the command line says."""

    users: int
    prompts: int
    episodes: int
    trace: float
    temperatures: tuple[float, ...]
    timing: bool


def run(seed: int, policy: LocalPolicy, options: Options) -> dict[str, Floats]:
    """(U,) win rates of unseen users by way and number of answers."""
    world = make_attributes_world(AttributesConfig(seed=seed))
    data = PreferenceData.load(world.rows)
    source = FeatureSource(resolve_backbone("minilm"))
    features = source.encode(data.item_texts(), Terminal()).features
    settings = SplitSettings(seed=seed)
    models = {
        name: PersonalRewardModel.train(
            data, method=name, features=features, split=settings, seed=seed
        )
        for name in ("vrf", "bt")
    }
    split = make_split(data, settings)
    scene = make_scene(world, split, policy, options)
    pool = source.encode(scene.pool_texts, Terminal()).features
    found = {"bt, best of 16": bt_win_rates(models["bt"], scene, pool)}
    method = models["vrf"].method
    assert isinstance(method, Factorised)
    # the model was trained on features; its texts are read by the backbone that gave them
    reading = PersonalRewardModel(method, source, models["vrf"].seen, models["vrf"].report)
    heads = learned_values(reading, policy, world, options)
    with torch.no_grad():
        rewards = method.basis_rewards(pool)
    for answers in ANSWERS:
        weights = user_weights(method, split, features, answers, options.users).mean
        for count in BEST_OF:
            chosen = best_of(scene, weights @ rewards.T, count)
            found[f"best of {count}, {answers} answers"] = win_rates(scene, chosen)
        for temperature in options.temperatures:
            moved = value_sampled(scene, policy, heads, weights, temperature)
            name = f"values at {temperature:g}, {answers} answers"
            found[name] = win_rates(scene, moved)
    if options.timing:
        ratio = time_ratio(scene, policy, heads, weights, options.temperatures[0])
        print(
            f"  values take {ratio[0]:.2f} of plain's time at equal lengths, "
            f"{ratio[1]:.2f} as answers come"
        )
    return found


def bt_win_rates(model: PersonalRewardModel, scene: Scene, pool: Tensor) -> Floats:
    """One reward for everybody chooses the best of 16."""
    rewards = model.method.reward(model.new_user().posterior, pool).mean
    return win_rates(scene, best_of(scene, rewards.expand(len(scene.tastes), -1), BEST_OF[-1]))


def main() -> None:
    """Print win rates in percent, a seed and then over seeds."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--users", type=int, default=210, help="unseen users of a seed, at most")
    parser.add_argument("--prompts", type=int, default=2, help="prompts a user")
    parser.add_argument("--episodes", type=int, default=2000, help="samples that values learn from")
    parser.add_argument("--trace", type=float, default=ValueSettings.trace, help="TD's lambda")
    parser.add_argument(
        "--temperatures", type=float, nargs="+", default=[SteeringSettings.temperature]
    )
    parser.add_argument("--no-timing", action="store_true")
    parser.add_argument("--out", type=Path, help="file for the users' win rates (JSON)")
    given = parser.parse_args()
    options = Options(
        *(given.users, given.prompts, given.episodes, given.trace),
        temperatures=tuple(given.temperatures),
        timing=not given.no_timing,
    )
    policy = small_policy(progress=Terminal())
    found: dict[str, list[Floats]] = {}
    for seed in range(given.first_seed, given.first_seed + given.seeds):
        started = time.monotonic()
        for name, values in run(seed, policy, options).items():
            found.setdefault(name, []).append(values)
        print(f"seed {seed} ({time.monotonic() - started:.0f} s)", flush=True)
        for name, seeds in found.items():
            print(f"  {name:28} {100 * seeds[-1].mean():.1f}", flush=True)
    print(f"\nwin rate over the plain answer, percent, {given.seeds} seeds, 95% over users")
    generator = np.random.default_rng(0)
    for name, seeds in found.items():
        drawn = resample([values[None] for values in seeds], generator)
        low, high = np.quantile(drawn.draws[0], [0.025, 0.975])
        print(f"  {name:28} {100 * drawn.mean[0]:.1f} [{100 * low:.1f}, {100 * high:.1f}]")
    if given.out:
        content = {name: [values.tolist() for values in seeds] for name, seeds in found.items()}
        given.out.write_text(json.dumps(content) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
