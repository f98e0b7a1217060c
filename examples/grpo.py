"""Trains a policy for a user by TRL's GRPO: two users of opposite tastes, two copies of one model.

Example: python examples/grpo.py

Everything is made here: the Attributes world, a reward model of its users, two new users of whom it
knows 20 answers each, and the small policy that writes. The reward that GRPO sees is the model's,
`PersonalReward`; whether it worked is told by the users' true rewards, which only the world knows.
Needs the extras `minilm` and `align`, and trl: pip install 'palate[minilm,align]' trl
"""

from __future__ import annotations

import argparse
import copy
import tempfile
import time

import numpy as np
import torch

from palate import Comparison, PersonalRewardModel, PreferenceData, UserProfile
from palate.alignment.local import LocalPolicy
from palate.alignment.policy import Request
from palate.alignment.rl_reward import PersonalReward
from palate.alignment.rule_world import true_rewards
from palate.alignment.small import small_policy
from palate.data.synthetic import AttributesConfig, AttributesWorld, make_attributes_world
from palate.progress import Terminal

#: Answers that each of the two users has given.
ANSWERS = 20
#: Most tokens of an answer, and answers to each prompt by which the policy is judged.
MAX_TOKENS, JUDGED = 96, 8


def two_users(
    model: PersonalRewardModel, seed: int
) -> tuple[AttributesWorld, dict[str, UserProfile]]:
    """A user of another draw of the world, the one with the opposite taste, and their profiles."""
    world = make_attributes_world(AttributesConfig(users=84, comparisons=ANSWERS, seed=seed + 1))
    first = world.user_ids[0]
    opposite = int(np.flatnonzero((world.weights == -world.weights_of(first)).all(1))[0])
    profiles = {}
    for user in (first, world.user_ids[opposite]):
        rows = [row for row in world.rows if row["user_id"] == user]
        answers = [Comparison(row["prompt"], row["chosen"], row["rejected"]) for row in rows]
        profiles[user] = model.adapt(answers)
        print(f"{user} {world.describe(user)}; {len(rows)} answers")
    return world, profiles


def judge(policy: LocalPolicy, world: AttributesWorld, user: str) -> torch.Tensor:
    """True rewards of the policy's answers to all prompts of the world."""
    requests = [
        Request(prompt, JUDGED, max_tokens=MAX_TOKENS, seed=i)
        for i, prompt in enumerate(world.prompts)
    ]
    weights = world.weights_of(user)
    sampled = policy.sample_many(requests)
    return torch.cat([true_rewards("", one.texts, weights) for one in sampled])


def train(
    policy: LocalPolicy, reward: PersonalReward, user: str, prompts: tuple[str, ...], steps: int
) -> LocalPolicy:
    """A copy of the policy after GRPO on one user's rewards."""
    from datasets import Dataset
    from trl.trainer.grpo_config import GRPOConfig
    from trl.trainer.grpo_trainer import GRPOTrainer

    rows = [
        {"prompt": [{"role": "user", "content": prompt}], "user_id": user} for prompt in prompts
    ]
    model = copy.deepcopy(policy.model).requires_grad_(True)
    with tempfile.TemporaryDirectory() as folder:
        settings = GRPOConfig(
            output_dir=folder,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            max_steps=steps,
            per_device_train_batch_size=64,
            num_generations=8,
            max_completion_length=MAX_TOKENS,
            learning_rate=5e-4,
            lr_scheduler_type="constant_with_warmup",
            warmup_steps=3,
            beta=0.02,  # the KL budget: what leaving the plain policy costs
            logging_steps=5,
            report_to="none",
            save_strategy="no",
        )
        trainer = GRPOTrainer(
            model,
            reward_funcs=reward,
            args=settings,
            train_dataset=Dataset.from_list(rows),
            processing_class=policy.tokenizer,
        )
        trainer.train()
    return LocalPolicy(model, policy.tokenizer, name=f"for {user}", identity=f"grpo {user}")


def main() -> None:
    """Print the mean true reward of each user before and after."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=15, help="of GRPO, 64 answers each")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    started = time.monotonic()
    data = PreferenceData.load(make_attributes_world(AttributesConfig(seed=options.seed)).rows)
    model = PersonalRewardModel.train(data, seed=options.seed, progress=Terminal())
    world, profiles = two_users(model, options.seed)
    policy = small_policy(progress=Terminal())
    reward = PersonalReward(model, profiles)
    print(f"reward model, users and policy: {time.monotonic() - started:.0f} s")
    started = time.monotonic()
    for user in profiles:
        before = judge(policy, world, user)
        trained = train(policy, reward, user, world.prompts, options.steps)
        after = judge(trained, world, user)
        rise = float(after.mean() - before.mean()) / float(before.std())
        print(
            f"{user} {world.describe(user)}: mean true reward {before.mean():.2f} before, "
            f"{after.mean():.2f} after, a rise of {rise:.2f} standard deviations",
            flush=True,
        )
    print(f"training by GRPO, both users: {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
