from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.unit.finetuning.jobs import EPOCHS, job, texts


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_two_processes_have_the_losses_of_one(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    texts(tmp_path)
    alone = job(tmp_path)
    for _ in range(EPOCHS):
        alone.loop.train_epoch()
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    words += ["--nproc_per_node", "2", "-m", "tests.unit.finetuning.jobs", str(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    together = json.loads((tmp_path / "losses.json").read_text())
    assert together["processes"] == 2
    assert len(together["losses"]) == len(alone.loop.losses) > 3
    assert together["losses"] == pytest.approx(alone.loop.losses, abs=1e-5)
