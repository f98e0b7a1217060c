"""Two tiny models, made once, and a service for each test, or for each module."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.http.world import Running, make_runs, running, settings_of


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_runs(tmp_path_factory.mktemp("http"))


@pytest.fixture
def served(runs: Path, tmp_path: Path) -> Iterator[Running]:
    """A service of this test alone."""
    with running(settings_of(runs, tmp_path)) as here:
        yield here


@pytest.fixture(scope="module")
def shared(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service of a module's tests, which use users of their own."""
    with running(settings_of(runs, tmp_path_factory.mktemp("shared"))) as here:
        yield here
