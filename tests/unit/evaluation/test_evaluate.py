"""A model on a split, against a slow walk over users and comparisons; other days' data."""

import math

import numpy as np
import pytest
import torch
from tests.contract.conftest import Planted, plant

from palate import PersonalRewardModel, PreferenceData, SplitSettings
from palate.data import make_split
from palate.evaluation.evaluate import FEW_SHOT


@pytest.fixture(scope="module")
def world() -> Planted:
    return plant(personal=True, users=40, answers=60)


@pytest.fixture(scope="module")
def model(world: Planted) -> PersonalRewardModel:
    settings = {"steps": 60, "weight_decay": 1.0}
    return PersonalRewardModel.train(world.data, features=world.features, settings=settings)


def test_figures_equal_a_walk_over_users(world: Planted, model: PersonalRewardModel) -> None:
    data, features = world.data, world.features
    split = make_split(data, SplitSettings())
    figures = model.evaluate(data, features=features).to_json()
    for answers in (0, 3, 20):
        shares = []
        for user in split.unseen:
            known = [r for r in split.reference if data.user[r] == user][:answers]
            profile = model.adapt(
                (features[data.chosen_item[known]], features[data.rejected_item[known]])
            )
            hits = []
            for row in split.evaluation[data.user[split.evaluation] == user]:
                pair = features[[data.chosen_item[row], data.rejected_item[row]]]
                reward = model.reward(None, pair, profile).mean
                hits.append(float(reward[0] > reward[1]))
            shares.append(np.mean(hits))
        assert figures["few_shot"][str(answers)] == pytest.approx(np.mean(shares), abs=1e-6)
    assert figures["unseen"]["accuracy"] == figures["few_shot"]["20"]
    assert figures["unseen"]["users"] == len(split.unseen)
    overall = (figures["seen"]["accuracy"] + figures["unseen"]["accuracy"]) / 2
    assert figures["overall"] == pytest.approx(overall)
    assert list(figures["few_shot"]) == [str(n) for n in FEW_SHOT]


def test_data_of_another_day_knows_its_users_and_leaves_trained_texts_out(
    world: Planted, model: PersonalRewardModel
) -> None:
    rows = [
        {"user_id": world.data.user_ids[u], "prompt": "p", "chosen": c, "rejected": r}
        for u, c, r in zip(
            world.data.user,
            (str(world.data.responses[i]) for i in world.data.chosen),
            (str(world.data.responses[i]) for i in world.data.rejected),
            strict=True,
        )
    ]
    feature_of = {
        str(text): world.features[i] for i, (_, text) in enumerate(world.data.item_texts())
    }
    split = make_split(world.data, SplitSettings())
    new = PreferenceData.load([rows[i] for i in split.evaluation])
    features = torch.stack([feature_of[str(text)] for _, text in new.item_texts()])
    again = model.evaluate(new, features=features)
    before = model.evaluate(world.data, features=world.features)
    assert again.seen.accuracy.users == len(split.seen)
    assert again.seen.accuracy.mean == pytest.approx(before.seen.accuracy.mean, abs=1e-6)
    trained = PreferenceData.load([rows[i] for i in split.train])
    features = torch.stack([feature_of[str(text)] for _, text in trained.item_texts()])
    nothing = model.evaluate(trained, features=features).to_json()
    assert nothing["seen"]["users"] == 0
    assert nothing["seen"]["accuracy"] is None
    assert nothing["overall"] is None


def test_strangers_are_adapted_on_other_texts_than_they_are_evaluated_on(
    model: PersonalRewardModel,
) -> None:
    other = plant(personal=True, users=12, answers=120, seed=5)
    renamed = [
        {
            "user_id": f"stranger {user}",
            "prompt": "p",
            "chosen": f"new {other.data.responses[c]}",
            "rejected": f"new {other.data.responses[r]}",
        }
        for user, c, r in zip(other.data.user, other.data.chosen, other.data.rejected, strict=True)
    ]
    data = PreferenceData.load(renamed)
    number = {f"new {text}": i for i, (_, text) in enumerate(other.data.item_texts())}
    features = other.features[[number[str(text)] for _, text in data.item_texts()]]
    figures = model.evaluate(data, features=features).to_json()
    assert figures["seen"]["users"] == 0
    assert figures["unseen"]["users"] == 12
    assert figures["few_shot"]["20"] > figures["few_shot"]["0"] + 0.1
    assert figures["overall"] == figures["unseen"]["accuracy"]
    assert not math.isnan(figures["log_loss"])
