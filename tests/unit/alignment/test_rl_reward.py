"""Reward callables as TRL's trainers call them: columns, batches, users, bounds."""

import inspect

import pytest
import torch

from palate import PersonalRewardModel
from palate.adaptation.profile import UserProfile
from palate.alignment.rl_reward import PersonalReward
from palate.errors import DataError, PosteriorError, SettingsError
from palate.predictive import lower_bound
from palate.types import Comparison

PROMPTS = ["prompt 1", "prompt 2", "prompt 1", "prompt 3"]
ANSWERS = ["response 0 to 1", "something new", "response 0 to 1", "response 2 to 3"]
USERS = ["alice", "bob", "bob", "alice"]


def adapted(model: PersonalRewardModel, chosen: int) -> UserProfile:
    return model.adapt(
        Comparison(f"prompt {i}", f"response {chosen} to {i}", f"response {1 - chosen} to {i}")
        for i in range(5)
    )


@pytest.fixture
def users(text_model: PersonalRewardModel) -> dict[str, UserProfile]:
    return {"alice": adapted(text_model, 0), "bob": adapted(text_model, 1)}


@pytest.mark.parametrize("bound", ["mean", "lower"])
def test_each_row_gets_its_own_users_reward(
    text_model: PersonalRewardModel, users: dict[str, UserProfile], bound: str
) -> None:
    reward = PersonalReward(text_model, users, bound=bound)  # type: ignore[arg-type]
    found = reward(PROMPTS, ANSWERS, user_id=USERS, completion_ids=[[1]] * 4, trainer_state=None)
    for row, value in enumerate(found):
        alone = text_model.reward(PROMPTS[row], [ANSWERS[row]], users[USERS[row]])
        expected = alone.mean if bound == "mean" else lower_bound(alone, 0.05)
        assert value == pytest.approx(float(expected[0]), abs=1e-5)


def test_it_is_what_a_trainer_wants(
    text_model: PersonalRewardModel, users: dict[str, UserProfile]
) -> None:
    reward = PersonalReward(text_model, users)
    found = reward(prompts=PROMPTS, completions=ANSWERS, user_id=USERS)
    assert reward.__name__ == "palate_mean"
    assert not inspect.iscoroutinefunction(reward)
    assert isinstance(found, list)
    assert all(type(value) is float for value in found)


def test_conversations_are_read_as_their_texts(
    text_model: PersonalRewardModel, users: dict[str, UserProfile]
) -> None:
    """The prompt stays a conversation, for that is how a backbone with a template reads it."""
    reward = PersonalReward(text_model, users)
    turns = [[{"role": "assistant", "content": answer}] for answer in ANSWERS]
    assert reward(PROMPTS, turns, user_id=USERS) == reward(PROMPTS, ANSWERS, user_id=USERS)
    asked = [[{"role": "user", "content": prompt}] for prompt in PROMPTS]
    assert len(reward(asked, turns, user_id=USERS)) == 4


def test_a_batch_is_encoded_at_once(
    text_model: PersonalRewardModel,
    users: dict[str, UserProfile],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = []
    encode = text_model.reader.encode
    monkeypatch.setattr(
        text_model.reader, "encode", lambda texts: calls.append(len(texts)) or encode(texts)
    )
    PersonalReward(text_model, users)(PROMPTS, ANSWERS, user_id=USERS)
    assert calls == [4]


def test_what_is_uncertain_is_worth_less_by_the_lower_bound(
    text_model: PersonalRewardModel, users: dict[str, UserProfile]
) -> None:
    mean, lower = (
        torch.tensor(PersonalReward(text_model, users, bound=b)(PROMPTS, ANSWERS, user_id=USERS))
        for b in ("mean", "lower")
    )
    assert bool((lower < mean).all())


def test_a_stranger_is_an_error_or_the_population_by_choice(
    text_model: PersonalRewardModel, users: dict[str, UserProfile]
) -> None:
    rows = ["alice", "carol", "bob", "dave"]
    with pytest.raises(DataError, match="no profile for user 'carol', 'dave'"):
        PersonalReward(text_model, users)(PROMPTS, ANSWERS, user_id=rows)
    found = PersonalReward(text_model, users, unknown="population")(PROMPTS, ANSWERS, user_id=rows)
    expected = text_model.reward(PROMPTS[1], [ANSWERS[1]]).mean
    assert found[1] == pytest.approx(float(expected[0]), abs=1e-5)


def test_a_missing_column_is_an_error_or_the_population_by_choice(
    text_model: PersonalRewardModel, users: dict[str, UserProfile]
) -> None:
    with pytest.raises(DataError, match="no column 'user_id'"):
        PersonalReward(text_model, users)(PROMPTS, ANSWERS)
    everybody = PersonalReward(text_model, {}, unknown="population")(PROMPTS, ANSWERS)
    assert everybody[0] == everybody[2]


def test_no_rows_give_no_rewards(
    text_model: PersonalRewardModel, users: dict[str, UserProfile]
) -> None:
    assert PersonalReward(text_model, users)([], [], user_id=[]) == []


def test_what_does_not_fit_is_refused(
    text_model: PersonalRewardModel, users: dict[str, UserProfile], toy_model: PersonalRewardModel
) -> None:
    reward = PersonalReward(text_model, users)
    with pytest.raises(DataError, match="2 users for 4 prompts"):
        reward(PROMPTS, ANSWERS, user_id=["alice", "bob"])
    with pytest.raises(SettingsError, match="bound is 'upper'"):
        PersonalReward(text_model, users, bound="upper")  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="unknown is 'ignore'"):
        PersonalReward(text_model, users, unknown="ignore")  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="level is 2"):
        PersonalReward(text_model, users, level=2)
    with pytest.raises(PosteriorError, match="another model"):
        PersonalReward(text_model, {"alice": toy_model.new_user()})
