"""Writers that are killed, a short run; the whole one is experiments/service_kill.py's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.service.private_postgresql import PrivateServer

SCRIPT = Path(__file__).parents[2] / "experiments" / "service_kill.py"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_nothing_is_lost_or_doubled(kind: str, request: pytest.FixtureRequest) -> None:
    if kind == "postgresql":
        server: PrivateServer = request.getfixturevalue("postgresql")  # or the reason to skip
        assert server.binaries.is_dir()
    short = ("--kills", "8", "--writers", "4", "--users", "5", "--pause", "0.2")
    command = [sys.executable, str(SCRIPT), *short, "--updates", "80", "--databases", kind]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=280, env=environment
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert f"{kind}, killed: kills 8" in ended.stdout
    assert "lost 0, doubled 0" in ended.stdout
    assert f"{kind}, at once: updates 80, kept 80" in ended.stdout
