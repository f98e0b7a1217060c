"""What the tests of several rooms share: the toy world, and a model that learned from it."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

from palate import PersonalRewardModel, PreferenceData
from tests import toy as world

settings.register_profile(
    "palate", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("palate")


@pytest.fixture(scope="session")
def toy() -> PreferenceData:
    """12 users' comparisons, 24 each, of 72 texts."""
    return PreferenceData.load(world.rows())


@pytest.fixture(scope="session")
def toy_model(toy: PreferenceData) -> PersonalRewardModel:
    """VRF on hidden states of the toy comparisons, trained in a second."""
    return PersonalRewardModel.train(toy, features=world.features(toy), settings=world.FEW_STEPS)
