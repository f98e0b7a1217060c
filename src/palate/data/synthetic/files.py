"""The Attributes world as files: comparisons to train on, and a new user, Alice, to adapt to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from palate.data.synthetic.attributes import ATTRIBUTES
from palate.data.synthetic.config import AttributesConfig
from palate.data.synthetic.generate import make_attributes_world
from palate.data.synthetic.world import AttributesWorld, Response
from palate.errors import SettingsError
from palate.files import new_folder

#: Comparisons that Alice answers.
ANSWERS = 10
#: Candidates that are ranked for her: for a spread of true rewards, so that the order can be seen.
CANDIDATES = 6


def write_world(folder: Path, *, users: int, comparisons: int, seed: int) -> dict[str, str]:
    """Write a world, and what a user of another draw answers; returns the files and what they hold.

    Alice's comparisons and candidates are texts that the world itself does not contain. Raises
    `OutputError` where the folder holds something already.
    """
    try:
        config = AttributesConfig(users=users, comparisons=comparisons, seed=seed)
        world = make_attributes_world(config)
    except ValueError as error:
        raise SettingsError(str(error)) from error
    other = make_attributes_world(AttributesConfig(users=84, comparisons=ANSWERS, seed=seed + 1))
    alice = other.user_ids[0]
    answers = [row for row in other.rows if row["user_id"] == alice]
    prompt, candidates = _candidates(other, alice, {row["prompt"] for row in answers})
    texts = [response.text for response in candidates]
    truth = {
        "alice": {"taste": other.describe(alice), "weights": other.weights_of(alice).tolist()},
        "candidates": [_truth(other, alice, response) for response in candidates],
        "attributes": [vars(attribute) for attribute in ATTRIBUTES],
        "users": {user: world.weights_of(user).tolist() for user in world.user_ids},
    }
    with new_folder(folder) as temporary:
        _write_parquet(temporary / "comparisons.parquet", world)
        lines = [json.dumps({**row, "user_id": "alice"}, ensure_ascii=False) for row in answers]
        (temporary / "alice.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        (temporary / "prompt.txt").write_text(prompt + "\n", encoding="utf-8")
        _write_json(temporary / "candidates.json", texts)
        _write_json(temporary / "truth.json", truth)
    return {
        "comparisons.parquet": f"{len(world.answers)} comparisons by {users} users",
        "alice.jsonl": f"{ANSWERS} answers of a new user, who {other.describe(alice)}",
        "prompt.txt": prompt,
        "candidates.json": f"{len(texts)} responses to it",
        "truth.json": "the true tastes and rewards, which no command reads",
    }


def _candidates(
    world: AttributesWorld, user: str, asked: set[str]
) -> tuple[str, tuple[Response, ...]]:
    """A prompt that the user was not asked about, with responses of different true rewards."""
    number = next(i for i, prompt in enumerate(world.prompts) if prompt not in asked)
    responses = [response for response in world.responses if response.prompt == number]
    rewards = np.array([world.weights_of(user) @ np.array(r.attributes) for r in responses])
    order = np.argsort(rewards, kind="stable")
    spread = order[np.linspace(0, len(order) - 1, CANDIDATES).round().astype(int)]
    return world.prompts[number], tuple(responses[i] for i in sorted(spread))


def _truth(world: AttributesWorld, user: str, response: Response) -> dict[str, Any]:
    prompt = world.prompts[response.prompt]
    expressed = [
        attribute.direction(value)
        for attribute, value in zip(ATTRIBUTES, response.attributes, strict=True)
        if value
    ]
    reward = world.true_reward(user, prompt, response.text)
    return {"reward": reward, "expresses": expressed, "text": response.text}


def _write_parquet(path: Path, world: AttributesWorld) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table(world.columns()), path)


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
