"""An answer may count less than a whole one, in its profile and in the profile's file."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from palate import PersonalRewardModel, PreferenceData
from palate.adaptation.profile import UserProfile
from palate.errors import PosteriorError
from palate.files import json_checksum
from palate.types import Evidence
from tests import toy as world

WEIGHTS = (1.0, 0.25, 0.5, 0.0)


@pytest.fixture
def whole(toy: PreferenceData, toy_model: PersonalRewardModel) -> UserProfile:
    features = world.features(toy)
    states = features[toy.chosen_item[:4]], features[toy.rejected_item[:4]]
    return toy_model.adapt(states, times=torch.arange(4) * 60.0)


@pytest.fixture
def weighed(whole: UserProfile, toy_model: PersonalRewardModel) -> UserProfile:
    answers = tuple(
        replace(answer, weight=weight)
        for answer, weight in zip(whole.answers, WEIGHTS, strict=True)
    )
    return toy_model.users.of(replace(whole.record, answers=answers))


def test_the_posterior_weighs_the_answers(
    weighed: UserProfile, toy_model: PersonalRewardModel
) -> None:
    evidence = Evidence(weighed.evidence, torch.tensor([0, 4]), torch.tensor(WEIGHTS))
    fitted = toy_model.method.posterior(evidence)
    torch.testing.assert_close(weighed.posterior.mean, fitted.mean)
    assert weighed.said.weight is not None
    assert weighed.said.weight.tolist() == list(WEIGHTS)


def test_whole_answers_have_no_weights(whole: UserProfile) -> None:
    assert whole.said.weight is None
    assert "answer_weights" not in whole.to_json()


def test_weights_and_ages_multiply(weighed: UserProfile, toy_model: PersonalRewardModel) -> None:
    aged = toy_model.age(weighed, 60.0, 180.0)
    assert aged.said.weight is not None
    assert aged.said.weight.tolist() == [0.125, 0.0625, 0.25, 0.0]


def test_weights_survive_the_file_and_what_is_done(
    weighed: UserProfile, whole: UserProfile, toy_model: PersonalRewardModel
) -> None:
    again = toy_model.user_from_json(weighed.to_json())
    assert again.answers == weighed.answers
    assert torch.equal(again.posterior.mean, weighed.posterior.mean)
    less = toy_model.withdraw(again, [weighed.answers[0].key])
    assert [answer.weight for answer in less.answers] == list(WEIGHTS[1:])
    both = toy_model.combine(less, toy_model.withdraw(weighed, [weighed.answers[0].key]))
    assert sorted(answer.weight for answer in both.answers) == sorted(WEIGHTS[1:])


@pytest.mark.parametrize(
    "weights",
    [
        *([1.0] * 3, [1.0] * 5, {}, None, "1111", [1.0, 1.0, 1.0, -0.1], [1.0, 1.0, 1.0, 1.1]),
        *([1.0, 1.0, 1.0, None], [1.0, 1.0, 1.0, True], [1.0, 1.0, 1.0, "1"]),
    ],
)
def test_weights_that_are_none_are_refused(
    weights: Any, weighed: UserProfile, toy_model: PersonalRewardModel
) -> None:
    content = weighed.to_json() | {"answer_weights": weights}
    del content["checksum"]
    with pytest.raises(PosteriorError, match="damaged"):
        toy_model.user_from_json(content | {"checksum": json_checksum(content)})
