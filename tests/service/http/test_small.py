"""The embedded model behind chat completions; and that the compose file says what there is."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from palate.alignment.policy import Request, Sampled
from palate.errors import PolicyError
from palate.service.http.upstream import small
from tests.cli.conftest import Palate, palate  # noqa: F401
from tests.service.http.world import Running, assert_error, chat, running, settings_of

COMPOSE = Path(__file__).parents[3] / "deploy" / "docker-compose.yml"


class Policy:
    """What the small policy does, without its weights."""

    name = "small"

    def __init__(self) -> None:
        self.asked: list[Request] = []
        self.go = threading.Event()
        self.go.set()

    def sample(self, request: Request) -> Sampled:
        self.asked.append(request)
        self.go.wait(10)
        if request.prompt == "too long":
            raise PolicyError("shorten the prompt")
        return Sampled(tuple(f"answer {i}" for i in range(request.count)), 5, 7)


@pytest.fixture
def policy(monkeypatch: pytest.MonkeyPatch) -> Policy:
    made = Policy()
    monkeypatch.setattr(small, "small_policy", lambda cache: made)
    return made


@pytest.fixture
def here(runs: Path, tmp_path: Path, policy: Policy) -> Iterator[Running]:
    with running(settings_of(runs, tmp_path, upstream="small", deadline=1.0)) as running_here:
        yield running_here


def test_it_writes_the_candidates(here: Running, policy: Policy) -> None:
    ask: dict[str, Any] = {"candidates": None, "temperature": 0.5, "max_tokens": 9, "seed": -3}
    content = chat(here.client(), **ask).json()
    assert content["choices"][0]["message"]["content"].startswith("answer ")
    assert content["usage"] == {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}
    (request,) = policy.asked
    assert (request.count, request.temperature, request.max_tokens) == (4, 0.5, 9)
    assert request.seed == 3


def test_it_refuses_what_it_cannot_read(here: Running) -> None:
    turns = [{"role": "user", "content": "too long"}]
    assert_error(chat(here.client(), candidates=None, messages=turns), 422)
    turns = [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]
    error = assert_error(chat(here.client(), candidates=None, messages=turns), 422)
    assert "reads texts alone" in error["message"]


def test_it_is_late_or_busy_in_time(here: Running, policy: Policy) -> None:
    policy.go.clear()
    client = here.client()
    codes = []
    for _ in range(small.WAITING + 1):
        client.headers["X-Palate-Deadline"] = "0.05"
        response = chat(client, candidates=None)
        codes.append(assert_error(response, response.status_code)["code"])
    policy.go.set()
    assert codes == ["deadline"] * small.WAITING + ["busy"]


def test_the_compose_file_says_what_there_is(palate: Palate) -> None:  # noqa: F811
    content = YAML(typ="safe").load(COMPOSE.read_text(encoding="utf-8"))
    assert set(content["services"]) == {"database", "palate"}
    command = content["services"]["palate"]["command"][-1]
    assert "--workers 2" in command
    told = palate("serve", "--help").out
    for option in re.findall(r"--[a-z-]+", command.partition("palate serve")[2]):
        assert option in told
    for name in ("PALATE_DATABASE", "PALATE_SECRET", "PALATE_UPSTREAM_KEY"):
        assert name in content["services"]["palate"]["environment"]
