"""A policy of the real architecture, trained for a few steps, and users of a small world."""

from __future__ import annotations

from pathlib import Path

import pytest

from palate import PersonalRewardModel
from palate.alignment.local import LocalPolicy
from palate.alignment.small import small_policy
from tests.unit.alignment.tiny import TINY, tiny_model


@pytest.fixture(scope="session")
def tiny_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tiny")


@pytest.fixture(scope="session")
def tiny_policy(tiny_cache: Path) -> LocalPolicy:
    """It writes nonsense, by the same ways as a large one."""
    return small_policy(tiny_cache, settings=TINY)


@pytest.fixture(scope="session")
def text_model(tmp_path_factory: pytest.TempPathFactory) -> PersonalRewardModel:
    """VRF that reads texts through a toy backbone without weights."""
    return tiny_model(tmp_path_factory.mktemp("model"))
