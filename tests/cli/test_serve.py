"""`palate serve` as a process: a first key, requests, several workers, and a clean end."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from tests.cli.conftest import Palate
from tests.service.http.world import DISLIKED, LIKED, PROMPT, make_runs

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_runs(tmp_path_factory.mktemp("serve"))


@contextmanager
def serving(runs: Path, folder: Path, *more: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process that serves, and its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = [sys.executable, "-m", "palate.cli", "serve", str(runs / "first"), "--port", str(port)]
    words += ["--database", f"sqlite:///{folder / 'palate.db'}", "--cache", str(folder / "cache")]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "text": True, "env": environment}
    with (
        (folder / "log").open("a") as log,
        subprocess.Popen([*words, *more], stderr=log, **pipes) as process,  # type: ignore[call-overload]
    ):
        try:
            yield process, f"http://127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(40)


def ready(url: str, seconds: float = 90) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            if httpx2.get(f"{url}/readyz").status_code == 200:
                return
        except httpx2.HTTPError:
            pass
        time.sleep(0.2)
    raise AssertionError("the service is not ready")


def test_a_first_start_prints_a_key_and_serves(runs: Path, tmp_path: Path) -> None:
    """With two workers, to whom a user is the same; a second start prints no key."""
    with serving(runs, tmp_path, "--workers", "2") as (process, url):
        assert process.stdout is not None
        key = process.stdout.readline().strip()
        assert key.startswith("palate_")
        ready(url)
        headers = {"Authorization": f"Bearer {key}"}
        body = {"type": "comparison", "user": "alice", "prompt": PROMPT}
        body |= {"chosen": LIKED, "rejected": DISLIKED}
        score = {"user": "alice", "prompt": PROMPT, "responses": [LIKED, DISLIKED]}
        assert httpx2.post(f"{url}/v1/feedback", json=body, headers=headers).status_code == 201
        seen = set()
        for _ in range(20):  # each connection may meet another worker
            content = httpx2.post(f"{url}/v1/score", json=score, headers=headers).json()
            seen.add(json.dumps(content))
        assert len(seen) == 1
        assert content["answers"] == 1
        assert "palate_requests_total" in httpx2.get(f"{url}/metrics").text
    assert process.returncode == 0
    with serving(runs, tmp_path) as (process, url):
        ready(url)
        assert httpx2.get(f"{url}/v1/users", headers=headers).json()["data"] == ["alice"]
    log = (tmp_path / "log").read_text()
    assert log.count("the first key") == 1
    assert "Traceback" not in log
    assert key not in log


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--upstream", "nonsense"), "expected echo, small, or a URL"),
        (("--database", "mysql://a/b"), "expected sqlite:///palate.db, or postgresql"),
        (("--deadline", "0"), "deadline is 0.0; expected seconds above 0"),
        (("--half-life", "-1"), "half_life is"),
    ],
)
def test_what_cannot_be_served(
    palate: Palate, runs: Path, tmp_path: Path, words: tuple[str, str], message: str
) -> None:
    database = f"sqlite:///{tmp_path / 'palate.db'}"
    given = ["--database", database, *words] if words[0] != "--database" else list(words)
    result = palate("serve", runs / "first", *given)
    assert result.code == 2
    assert message in result.err
    assert len(result.err.splitlines()) == 1


def test_a_run_that_is_none(palate: Palate, tmp_path: Path) -> None:
    result = palate("serve", tmp_path, "--database", f"sqlite:///{tmp_path / 'palate.db'}")
    assert result.code == 2
    assert str(tmp_path) in result.err
