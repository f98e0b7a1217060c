"""What is measured of a trained method, against slower ways to the same numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from palate.bench.measure import TIMED_USERS, _repeat_users, measure, singular_values
from palate.data import PreferenceData, SplitSettings, make_split
from palate.data.pairs import pairs_of_users
from palate.evaluation import evaluate
from palate.keys import keys_of
from palate.methods import METHODS
from palate.settings import build
from palate.tuning import learn
from palate.types import PairBatch
from tests import toy
from tests.unit.bench.world import QUICK


@pytest.fixture(scope="module")
def data() -> PreferenceData:
    return PreferenceData.load(toy.rows(users=20, each=30))


@pytest.fixture(scope="module")
def cell(data: PreferenceData) -> dict[str, Any]:
    split = make_split(data, SplitSettings())
    settings = build(METHODS["vrf"].settings_class, QUICK | {"estimation": "gradient"})
    return measure(METHODS["vrf"], settings, toy.features(data), split, seed=0)


def test_figures_are_those_of_the_evaluation(data: PreferenceData, cell: dict[str, Any]) -> None:
    split = make_split(data, SplitSettings())
    settings = build(METHODS["vrf"].settings_class, QUICK | {"estimation": "gradient"})
    learned = learn(METHODS["vrf"], settings, toy.features(data), split, seed=0)
    figures = evaluate(learned.fitted.method, toy.features(data), split).to_json()
    assert np.mean(cell["seen"]["accuracy"]) == pytest.approx(figures["seen"]["accuracy"])
    for answers, accuracy in figures["few_shot"].items():
        assert np.mean(cell["unseen"][answers]["accuracy"]) == pytest.approx(accuracy)
    assert np.mean(cell["unseen"]["20"]["log_loss"]) == pytest.approx(figures["log_loss"], 1e-4)
    assert cell["unseen"]["20"]["calibration_error"] == figures["calibration_error"]


def test_users_are_hashes_that_the_data_decide(data: PreferenceData, cell: dict[str, Any]) -> None:
    split = make_split(data, SplitSettings())
    names = [data.user_ids[i] for i in split.unseen]
    expected = [bytes(row).hex()[:16] for row in keys_of(names, data.digest).numpy()]
    assert cell["uncertainty"]["users"] == expected
    assert not set(data.user_ids) & set(expected)
    assert cell["unseen"]["0"]["users"] == cell["unseen"]["20"]["users"]


def test_coverage_counts_every_user_once(cell: dict[str, Any], data: PreferenceData) -> None:
    split = make_split(data, SplitSettings())
    assert sum(cell["coverage"]["seen"]) == len(split.seen)
    assert sum(cell["coverage"]["unseen"]) == len(split.unseen)


def test_users_are_taken_in_turn_until_there_are_enough() -> None:
    features = torch.zeros(6, 2)
    pairs = PairBatch(
        features, torch.tensor([0, 1, 2]), torch.tensor([3, 4, 5]), torch.tensor([0, 2, 3])
    )
    batch = _repeat_users(pairs, 5)
    assert batch.users == 5
    assert batch.chosen.tolist() == [0, 1, 2, 0, 1, 2, 0, 1]
    assert batch.rejected.tolist() == [3, 4, 5, 3, 4, 5, 3, 4]
    assert batch.counts.tolist() == [2, 1, 2, 1, 2]
    assert _repeat_users(pairs, TIMED_USERS).users == TIMED_USERS


def test_singular_values_are_of_the_weighed_mean_differences(data: PreferenceData) -> None:
    split, features = make_split(data, SplitSettings()), toy.features(data)
    users = np.unique(data.user[split.train])
    pairs = pairs_of_users(data, features, split.train, users)
    delta = (features[pairs.chosen] - features[pairs.rejected]).double().numpy()
    owner = pairs.user.numpy()
    rows = [
        (delta[owner == u].mean(0) - delta.mean(0)) * np.sqrt((owner == u).sum())
        for u in range(len(users))
    ]
    values = np.linalg.svd(np.array(rows), compute_uv=False) ** 2
    np.testing.assert_allclose(singular_values(features, split), values / values.sum(), atol=2e-6)
