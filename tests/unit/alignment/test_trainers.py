"""TRL's own trainers with the reward callable: the column arrives, the policy moves."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from palate import PersonalRewardModel
from palate.alignment.local import LocalPolicy
from palate.alignment.rl_reward import PersonalReward
from palate.errors import DataError

pytestmark = [
    pytest.mark.slow,
    # the trainers' own: a setting that transformers renamed, a library's file left open
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


def trainer_of(
    name: str, policy: LocalPolicy, reward: Any, folder: Path, users: tuple[str, str]
) -> Any:
    from datasets import Dataset

    trl = pytest.importorskip("trl")
    rows = [
        {"prompt": [{"role": "user", "content": f"prompt {i}"}], "user_id": users[i % 2]}
        for i in range(4)
    ]
    settings = getattr(trl, f"{name}Config")(
        output_dir=str(folder),
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        max_steps=1,
        per_device_train_batch_size=8,
        num_generations=4,
        max_completion_length=8,
        learning_rate=1e-3,
        beta=0.02,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
    )
    return getattr(trl, f"{name}Trainer")(
        copy.deepcopy(policy.model).requires_grad_(True),
        reward_funcs=reward,
        args=settings,
        train_dataset=Dataset.from_list(rows),
        processing_class=policy.tokenizer,
    )


@pytest.mark.parametrize("name", ["GRPO", "RLOO"])
def test_a_trainer_gives_the_user_and_takes_the_rewards(
    name: str, tiny_policy: LocalPolicy, text_model: PersonalRewardModel, tmp_path: Path
) -> None:
    users = {"alice": text_model.new_user(), "bob": text_model.new_user()}
    reward = PersonalReward(text_model, users)
    seen: list[str] = []

    def noted(prompts: Any, completions: Any, user_id: Any, **columns: Any) -> list[float]:
        seen.extend(user_id)
        return reward(prompts, completions, user_id=user_id, **columns)

    trainer = trainer_of(name, tiny_policy, noted, tmp_path, ("alice", "bob"))
    trainer.train()
    assert len(seen) == 8
    assert set(seen) <= {"alice", "bob"}
    moved = trainer.model.get_output_embeddings().weight
    assert not moved.equal(tiny_policy.model.get_output_embeddings().weight)


def test_a_stranger_stops_the_training(
    tiny_policy: LocalPolicy, text_model: PersonalRewardModel, tmp_path: Path
) -> None:
    reward = PersonalReward(text_model, {"alice": text_model.new_user()})
    trainer = trainer_of("GRPO", tiny_policy, reward, tmp_path, ("carol", "carol"))
    with pytest.raises(DataError, match="no profile for user 'carol'"):
        trainer.train()
