"""Planted worlds: features, users whose rewards are known, Bradley-Terry answers."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from palate import PreferenceData, SplitSettings
from palate.data import make_split
from palate.evaluation.metrics import per_user
from palate.methods import Method
from palate.model import PersonalRewardModel
from tests.contract.cases import CASES, WIDTH, trained

TEXTS = 300
PROMPTS = 3

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Planted:
    """data over features (N, WIDTH) of its items; true_right (B,): the true reward is right.

    prompts: (P, WIDTH) hidden states of the prompts by themselves.
    """

    data: PreferenceData
    features: Tensor
    true_right: NDArray[np.bool_]
    prompts: Tensor

    def true_accuracy(self, seed: int = 0) -> tuple[float, float]:
        """Of the true rewards on the evaluated rows: seen users, unseen users."""
        split = make_split(self.data, SplitSettings(seed=seed))
        user = self.data.user[split.evaluation]
        right = self.true_right[split.evaluation].astype(float)
        return tuple(  # type: ignore[return-value]
            float(per_user(right[part], user[part]).mean())
            for part in (np.isin(user, split.seen), np.isin(user, split.unseen))
        )


def texts_of(rng: np.random.Generator) -> Array:
    """(TEXTS, WIDTH) from N(0, I)."""
    return rng.normal(size=(TEXTS, WIDTH))


def prompts_of(rng: np.random.Generator) -> Array:
    """(PROMPTS, WIDTH) from N(0, I)."""
    return rng.normal(size=(PROMPTS, WIDTH))


def answer(
    rng: np.random.Generator,
    texts: Array,
    rewards: Array,
    prompts: Array,
    answers: int = 120,
    pool: int = 40_000,
) -> Planted:
    """Users (U) who compare texts by rewards (U, TEXTS); text i responds to prompt i % PROMPTS.

    Pairs come from a pool, so that users share some.
    """
    one = rng.integers(TEXTS, size=pool)
    other = (one + PROMPTS * rng.integers(1, TEXTS // PROMPTS, size=pool)) % TEXTS
    rows, right = [], []
    for user, reward in enumerate(rewards):
        asked = rng.choice(pool, answers)
        for a, b in zip(one[asked], other[asked], strict=True):
            first = rng.random() < 1 / (1 + np.exp(reward[b] - reward[a]))
            chosen, rejected = (a, b) if first else (b, a)
            right.append(reward[chosen] > reward[rejected])
            rows.append(
                {
                    "user_id": f"u{user}",
                    "prompt": f"prompt {a % PROMPTS}",
                    "chosen": f"text {chosen}",
                    "rejected": f"text {rejected}",
                }
            )
    data = PreferenceData.load(rows)
    order = [int(str(response).split()[1]) for _, response in data.item_texts()]
    questions = [int(str(prompt).split()[1]) for prompt in data.prompts]
    features, states = (
        torch.from_numpy(table).float() for table in (texts[order], prompts[questions])
    )
    return Planted(data, features, np.array(right), states)


def plant(*, personal: bool, users: int = 120, answers: int = 120, seed: int = 0) -> Planted:
    """Users who weigh the features' first axes: all alike, or each one of four kinds."""
    rng = np.random.default_rng(seed)
    texts = texts_of(rng)
    kinds = np.zeros((4, WIDTH))
    kinds[[0, 1, 2, 3], [0, 0, 1, 1]] = [3, -3, 3, -3]
    taste = kinds[np.arange(users) % 4] if personal else np.tile(kinds[0], (users, 1))
    return answer(rng, texts, taste @ texts.T, prompts_of(rng), answers)


def plant_factors(users: int = 120) -> Planted:
    """PReF's: three linear bases, users' vectors from N(0, I)."""
    rng = np.random.default_rng(1)
    texts, bases = texts_of(rng), np.linalg.qr(rng.normal(size=(WIDTH, 3)))[0]
    taste = 3 * rng.normal(size=(users, 3))
    return answer(rng, texts, taste @ (texts @ bases).T, prompts_of(rng), pool=3000)


def plant_convex(users: int = 120) -> Planted:
    """LoRe's: convex weights over three linear bases."""
    rng = np.random.default_rng(2)
    texts, bases = texts_of(rng), np.linalg.qr(rng.normal(size=(WIDTH, 3)))[0]
    weight = rng.dirichlet(np.full(3, 0.4), size=users)
    return answer(rng, texts, weight @ (5 * texts @ bases).T, prompts_of(rng))


def plant_ideal_points(users: int = 120) -> Planted:
    """PAL's A: mixtures of two prototypes, rewards by distance to the user's point."""
    rng = np.random.default_rng(3)
    texts, prototypes = texts_of(rng), 2 * rng.normal(size=(2, WIDTH))
    share = rng.random(users)[:, None]
    point = share * prototypes[0] + (1 - share) * prototypes[1]
    distance = np.linalg.norm(texts[None] - point[:, None], axis=-1)
    return answer(rng, texts, -4 * distance, prompts_of(rng), answers=160)


def plant_angles(users: int = 120) -> Planted:
    """PAL's B: rewards by the cosine to a mixture of two linear maps of the prompt."""
    rng = np.random.default_rng(4)
    texts, prompts = texts_of(rng), prompts_of(rng)
    maps = rng.normal(size=(2, WIDTH, WIDTH))
    share = (rng.random(users) < 0.5).astype(float)[:, None, None]
    point = share * (prompts @ maps[0]) + (1 - share) * (prompts @ maps[1])  # (U, P, WIDTH)
    own = point[:, np.arange(TEXTS) % PROMPTS]
    cosine = (own * texts).sum(-1)
    cosine /= np.linalg.norm(own, axis=-1) * np.linalg.norm(texts, axis=-1)
    return answer(rng, texts, 8 * cosine, prompts, answers=160)


@pytest.fixture(scope="session")
def alike() -> Planted:
    """Everybody has the same taste."""
    return plant(personal=False)


@pytest.fixture(scope="session")
def opposed() -> Planted:
    """Four kinds of users, two by two opposed."""
    return plant(personal=True)


@pytest.fixture(scope="session")
def models(opposed: Planted) -> dict[str, PersonalRewardModel]:
    """Every case, trained on opposed users."""
    return {case: trained(case, opposed) for case in CASES}


@pytest.fixture(scope="session")
def methods(opposed: Planted) -> dict[str, Method]:
    """Every case after a few steps, for what holds of any of them."""
    return {case: trained(case, opposed, steps=40).method for case in CASES}
