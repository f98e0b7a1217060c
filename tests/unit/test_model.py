"""PersonalRewardModel at its door: tensors, seeds and user files that make no sense."""

import json
from pathlib import Path

import pytest
import torch

from palate import PersonalRewardModel
from palate.errors import DataError, PalateError, PosteriorError, SettingsError
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
