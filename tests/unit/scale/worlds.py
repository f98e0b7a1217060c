"""Inputs of jobs: the toy world's comparisons in Parquet, its hidden states as features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from palate import PersonalRewardModel, PreferenceData
from palate.features.cache import prompt_key, text_key
from palate.scale.features import write_features
from palate.types import Comparison
from tests import toy

PROMPTS = [f"prompt {number}" for number in range(toy.PROMPTS)]
ITEMS = [(p, f"response {i} to {n}") for n, p in enumerate(PROMPTS) for i in range(toy.RESPONSES)]


def state(prompt: str, response: str = "") -> Tensor:
    return torch.from_numpy(toy.hidden_state(prompt, response))


def states(comparisons: Sequence[Comparison]) -> tuple[Tensor, ...]:
    """Hidden states of chosen and rejected texts and of prompts, (n, D) each."""
    chosen = [state(str(c.prompt), str(c.chosen)) for c in comparisons]
    rejected = [state(str(c.prompt), str(c.rejected)) for c in comparisons]
    prompts = [state(str(c.prompt)) for c in comparisons]
    return torch.stack(chosen), torch.stack(rejected), torch.stack(prompts)


def write(path: Path, rows: Sequence[dict[str, Any]], group: int = 500) -> Path:
    pq.write_table(pa.Table.from_pylist(list(rows)), path, row_group_size=group)
    return path


def write_many(path: Path, users: int, each: int, seed: int = 0) -> Path:
    """Comparisons of many users, drawn without a taste."""
    rng = np.random.default_rng(seed)
    prompt = rng.integers(toy.PROMPTS, size=users * each)
    one = rng.integers(toy.RESPONSES, size=users * each)
    other = (one + rng.integers(1, toy.RESPONSES, size=users * each)) % toy.RESPONSES
    texts = pa.array([response for _, response in ITEMS])
    columns = {
        "user_id": pa.array([f"user {user}" for user in np.arange(users * each) % users]),
        "prompt": pa.array(PROMPTS).take(pa.array(prompt)),
        "chosen": texts.take(pa.array(toy.RESPONSES * prompt + one)),
        "rejected": texts.take(pa.array(toy.RESPONSES * prompt + other)),
    }
    pq.write_table(pa.table(columns), path, row_group_size=50_000)
    return path


def write_states(path: Path, *, parts: int = 3, prompts: bool = True) -> Path:
    """The hidden states of all texts of the toy world, and of its prompts by themselves."""
    keys = [text_key(*item) for item in ITEMS]
    vectors = [state(*item) for item in ITEMS]
    if prompts:
        keys += [prompt_key(prompt) for prompt in PROMPTS]
        vectors += [state(prompt) for prompt in PROMPTS]
    table = np.frombuffer(b"".join(keys), dtype=np.uint8).reshape(-1, 16)
    write_features(path, table, torch.stack(vectors), parts=parts, prompts=prompts)
    return path


def trained(data: PreferenceData, method: str, **settings: Any) -> PersonalRewardModel:
    """A model of a method on hidden states."""
    features = toy.features(data)
    if method == "pal" and settings.get("variant") == "B":
        features = torch.cat([features, torch.stack([state(str(p)) for p in data.prompts])])
    if method == "ref":
        features = features[:, :1]
    return PersonalRewardModel.train(data, method=method, features=features, settings=settings)


METHODS: dict[str, dict[str, Any]] = {
    "bt": {},
    "per_user": {},
    "vpl": {"steps": 20},
    "pal": {"steps": 20, "variant": "A"},
    "pal B": {"steps": 20, "variant": "B"},
    "lore": {"steps": 20},
    "pref": {"steps": 20},
    "vrf": {"steps": 20},
    "brf": {"steps": 20},
}


@dataclass(frozen=True)
class Models:
    """Models of every method of `METHODS`, trained and saved when one is first asked for."""

    folder: Path
    data: PreferenceData
    made: dict[str, PersonalRewardModel] = field(default_factory=dict)

    def run(self, name: str) -> Path:
        if name not in self.made:
            settings = {"weight_decay": 8.0, **METHODS[name]}
            if name == "per_user":
                del settings["weight_decay"]
            self.made[name] = trained(self.data, name.split(maxsplit=1)[0], **settings)
            self.made[name].save(self.folder / name)
        return self.folder / name

    def __getitem__(self, name: str) -> PersonalRewardModel:
        self.run(name)
        return self.made[name]


def read(folder: Path) -> pa.Table:
    """All parts of a job."""
    return pa.concat_tables([pq.read_table(p) for p in sorted(folder.glob("part-*.parquet"))])


def part_bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("part-*.parquet"))}


@dataclass(frozen=True)
class Bench:
    """What a job needs; tests read it and never write into it."""

    comparisons: Path
    candidates: Path
    features: Path
    run: Path
    model: PersonalRewardModel
    data: PreferenceData

    def of(self, user: str) -> list[Comparison]:
        """A user's distinct answers."""
        mine = self.data.select(self.data.user == self.data.user_ids.index(user))
        return list(dict.fromkeys(mine))
