"""PersonalRewardModel at its door: tensors, seeds and user files that make no sense."""

import json
from pathlib import Path

import pytest
import torch

from palate import PersonalRewardModel
from palate.errors import CannotRunError, DataError, PalateError, PosteriorError, SettingsError
from tests.contract.conftest import Planted, plant


@pytest.fixture(scope="module")
def world() -> Planted:
    return plant(personal=True, users=24, answers=60)


@pytest.fixture(scope="module")
def model(world: Planted) -> PersonalRewardModel:
    return PersonalRewardModel.train(
        world.data, features=world.features, settings={"estimation": "moments"}
    )


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_a_seed_out_of_range_is_refused(world: Planted, seed: int) -> None:
    with pytest.raises(SettingsError, match="seed"):
        PersonalRewardModel.train(world.data, features=world.features, seed=seed)


@pytest.mark.parametrize("shape", [(3, 8), (300,), (300, 8, 1)])
def test_features_of_another_shape_are_refused(world: Planted, shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match="features"):
        PersonalRewardModel.train(world.data, features=torch.zeros(shape))


@pytest.mark.parametrize(
    "settings", [{"steps": 10**12}, {"hidden": 10**9}, {"bases": 10**7}, {"users_per_step": 0}]
)
def test_sizes_that_fill_any_memory_are_refused(world: Planted, settings: dict[str, int]) -> None:
    with pytest.raises(SettingsError, match=next(iter(settings))):
        PersonalRewardModel.train(world.data, features=world.features, settings=settings)


def test_hidden_states_that_are_no_numbers_are_refused(model: PersonalRewardModel) -> None:
    broken = torch.full((2, 8), torch.nan)
    with pytest.raises(DataError, match="finite"):
        model.rank(None, broken)
    with pytest.raises(DataError, match="finite"):
        model.adapt((broken, torch.zeros(2, 8)))


def test_texts_are_refused_by_a_model_of_features(model: PersonalRewardModel) -> None:
    with pytest.raises(PalateError, match="hidden states"):
        model.rank("a prompt", ["one", "two"])


def test_nothing_to_rank_is_an_error(model: PersonalRewardModel) -> None:
    with pytest.raises(DataError, match="no candidate"):
        model.rank(None, torch.zeros(0, 8))


def test_a_user_of_another_model_is_refused(world: Planted, model: PersonalRewardModel) -> None:
    other = PersonalRewardModel.train(
        world.data, method="bt", features=world.features, settings={"steps": 5, "weight_decay": 1}
    )
    with pytest.raises(PosteriorError, match="another model"):
        model.rank(None, torch.zeros(2, 8), other.new_user())


def test_states_beyond_all_bounds_are_refused(model: PersonalRewardModel) -> None:
    with pytest.raises(DataError, match="beyond 1e\\+08"):
        model.adapt((torch.full((2, 8), 1e25), torch.full((2, 8), -1e25)))


def test_answers_given_as_states_are_each_a_row(model: PersonalRewardModel) -> None:
    chosen, rejected = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(1)).unbind()
    first = model.adapt((chosen[:3], rejected[:3]))
    second = model.adapt((chosen[3:], rejected[3:]), first)
    assert torch.equal(second.evidence[:3], first.evidence)
    assert second.evidence.shape == (5, first.evidence.shape[1])
    assert second.posterior.answers.tolist() == [5]
    assert first.evidence.shape[0] == 3  # continued, not changed
    assert model.new_user().evidence.shape == (0, first.evidence.shape[1])
    assert not second.evidence.requires_grad


def test_no_more_answers_change_nothing(model: PersonalRewardModel) -> None:
    chosen, rejected = torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(2)).unbind()
    before = model.adapt((chosen, rejected))
    after = model.adapt((torch.zeros(0, 8), torch.zeros(0, 8)), before)
    assert torch.equal(after.posterior.mean, before.posterior.mean)
    assert torch.equal(after.evidence, before.evidence)


@pytest.mark.parametrize("count", [1, 4])
def test_answers_of_different_numbers_are_refused(model: PersonalRewardModel, count: int) -> None:
    with pytest.raises(ValueError, match=r"not all \(n, D\)"):
        model.adapt((torch.zeros(3, 8), torch.zeros(count, 8)))


# -- a method that reads prompts ------------------------------------------------------------------


@pytest.fixture(scope="module")
def angle(world: Planted) -> PersonalRewardModel:
    """PAL's B, on states of items and of prompts."""
    return PersonalRewardModel.train(
        world.data,
        method="pal",
        features=torch.cat([world.features, world.prompts]),
        settings={"variant": "B", "steps": 20, "weight_decay": 1.0},
    )


def test_prompts_are_states_beside_the_answers(angle: PersonalRewardModel) -> None:
    states = torch.randn(3, 5, 8, generator=torch.Generator().manual_seed(3))
    user = angle.adapt(tuple(states.unbind()))
    asked, other = torch.randn(2, 8, generator=torch.Generator().manual_seed(4)).unbind()
    responses = states[0]
    one = angle.reward(asked, responses, user).mean
    assert one.shape == (5,)
    assert not torch.equal(one, angle.reward(other, responses, user).mean)


def test_a_method_that_reads_prompts_asks_for_them(angle: PersonalRewardModel) -> None:
    with pytest.raises(CannotRunError, match="needs the hidden states of prompts"):
        angle.adapt((torch.zeros(2, 8), torch.ones(2, 8)))
    with pytest.raises(CannotRunError, match="needs the hidden states of prompts"):
        angle.rank(None, torch.zeros(2, 8))


def test_a_table_without_prompts_is_refused(world: Planted) -> None:
    with pytest.raises(DataError, match=r"and then of data\.prompts"):
        PersonalRewardModel.train(
            world.data, method="pal", features=world.features, settings={"variant": "B"}
        )


def test_a_prompts_user_file_is_continued(angle: PersonalRewardModel, tmp_path: Path) -> None:
    states = torch.randn(3, 6, 8, generator=torch.Generator().manual_seed(5))
    angle.adapt(tuple(states[:, :2].unbind())).save(tmp_path / "bob.json")
    continued = angle.adapt(tuple(states[:, 2:].unbind()), angle.load_user(tmp_path / "bob.json"))
    at_once = angle.adapt(tuple(states.unbind()))
    torch.testing.assert_close(continued.posterior.mean, at_once.posterior.mean)


def test_a_user_file_is_continued_to_the_same_posterior(
    model: PersonalRewardModel, tmp_path: Path
) -> None:
    generator = torch.Generator().manual_seed(0)
    chosen, rejected = torch.randn(2, 6, 8, generator=generator).unbind()
    model.adapt((chosen[:2], rejected[:2])).save(tmp_path / "alice.json")
    continued = model.adapt((chosen[2:], rejected[2:]), model.load_user(tmp_path / "alice.json"))
    at_once = model.adapt((chosen, rejected))
    torch.testing.assert_close(continued.posterior.mean, at_once.posterior.mean)
    assert json.loads((tmp_path / "alice.json").read_text())["answers"] == 2
