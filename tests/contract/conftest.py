"""A planted world: features, users of opposite tastes, Bradley-Terry answers, true rewards."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from palate import PreferenceData, SplitSettings
from palate.data import make_split
from palate.evaluation.metrics import per_user

WIDTH = 8


@dataclass(frozen=True)
class Planted:
    """data over features (N, WIDTH) of its items; true_right (B,): the true reward is right."""

    data: PreferenceData
    features: Tensor
    true_right: NDArray[np.bool_]

    def true_accuracy(self, seed: int = 0) -> tuple[float, float]:
        """Of the true rewards on the evaluated rows: seen users, unseen users."""
        split = make_split(self.data, SplitSettings(seed=seed))
        user = self.data.user[split.evaluation]
        right = self.true_right[split.evaluation].astype(float)
        return tuple(  # type: ignore[return-value]
            float(per_user(right[part], user[part]).mean())
            for part in (np.isin(user, split.seen), np.isin(user, split.unseen))
        )


def plant(*, personal: bool, users: int = 120, answers: int = 80, seed: int = 0) -> Planted:
    """Users who weigh the features' first axes: all alike, or each one of four kinds."""
    rng = np.random.default_rng(seed)
    texts = rng.normal(size=(300, WIDTH))
    kinds = np.zeros((4, WIDTH))
    kinds[[0, 1, 2, 3], [0, 0, 1, 1]] = [3, -3, 3, -3]
    taste = kinds[np.arange(users) % 4] if personal else np.tile(kinds[0], (users, 1))
    rows = []
    right = []
    for user in range(users):
        for _ in range(answers):
            a, b = rng.choice(300, size=2, replace=False)
            margin = taste[user] @ (texts[a] - texts[b])
            chosen, rejected = (a, b) if rng.random() < 1 / (1 + np.exp(-margin)) else (b, a)
            right.append(taste[user] @ (texts[chosen] - texts[rejected]) > 0)
            rows.append(
                {
                    "user_id": f"u{user}",
                    "prompt": "p",
                    "chosen": f"text {chosen}",
                    "rejected": f"text {rejected}",
                }
            )
    data = PreferenceData.load(rows)
    order = [int(str(response).split()[1]) for _, response in data.item_texts()]
    features = torch.from_numpy(texts[order]).float()
    return Planted(data, features, np.array(right))


@pytest.fixture(scope="session")
def alike() -> Planted:
    """Everybody has the same taste."""
    return plant(personal=False)


@pytest.fixture(scope="session")
def opposed() -> Planted:
    """Four kinds of users, two by two opposed."""
    return plant(personal=True)
