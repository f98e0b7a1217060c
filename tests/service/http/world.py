"""A tiny model with a real backbone, and the service on a real port in a thread."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn

from palate import PersonalRewardModel, PreferenceData
from palate.methods.vrf import VRFSettings
from palate.service.http.app import build
from palate.service.http.listening import PromptProtocol
from palate.service.http.service import Service
from palate.service.http.settings import ServeSettings
from tests.toy import FEW_STEPS
from tests.unit.features.models import save

SENTENCE = "because the air scatters blue light more than red go to bed early read a book"
WORDS = SENTENCE.split()
PROMPT = "why is the sky blue ?"
LIKED, DISLIKED = "the air scatters blue light", "go to bed early"


def text(draw: random.Random) -> str:
    """Six words that the tiny tokenizer knows."""
    return " ".join(draw.choices(WORDS, k=6))


def rows(users: int = 12, each: int = 20) -> list[dict[str, str]]:
    """Comparisons of users, half of whom like texts with light in them."""
    draw = random.Random(0)
    texts = [text(draw) for _ in range(40)]
    made = []
    for user in range(users):
        sign = 1 if user % 2 else -1
        for _ in range(each):
            one, other = draw.sample(texts, 2)
            if sign * one.count("light") < sign * other.count("light"):
                one, other = other, one
            made.append({"user_id": str(user), "prompt": PROMPT, "chosen": one, "rejected": other})
    return made


def make_runs(folder: Path) -> Path:
    """A folder with the models `first` and `second`, of one backbone."""
    backbone = save(folder / "backbone", "bert")
    data = PreferenceData.load(rows())
    candidates = VRFSettings.candidates  # of several ways to train, the first
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(VRFSettings, "candidates", lambda chosen: candidates(chosen)[:1])
        for seed, name in enumerate(("first", "second")):
            model = PersonalRewardModel.train(
                data, backbone=str(backbone), seed=seed, settings=FEW_STEPS, cache=folder / "cache"
            )
            model.save(folder / "runs" / name)
    return folder / "runs"


@dataclass
class Running:
    """A service that runs: its address, its parts, and clients with keys."""

    url: str
    service: Service
    keys: dict[str, str] = field(default_factory=dict)
    opened: list[httpx2.Client] = field(default_factory=list)

    def key(
        self, name: str, tenant: str = "default", scopes: tuple[str, ...] = (), **more: Any
    ) -> str:
        """A key's text."""
        if name not in self.keys:
            store = self.service.store
            owner = store.tenants.ensure(tenant).id
            scopes = scopes or ("read", "write", "admin")
            _, self.keys[name] = store.keys.create(owner, scopes, name, **more)
        return self.keys[name]

    def client(self, name: str = "alice", tenant: str = "default", **more: Any) -> httpx2.Client:
        """A client with a key of that name."""
        headers = {"Authorization": f"Bearer {self.key(name, tenant, **more)}"}
        client = httpx2.Client(base_url=self.url, headers=headers, timeout=30)
        self.opened.append(client)
        return client


def settings_of(runs: Path, folder: Path, **more: Any) -> ServeSettings:
    """Settings with a database of their own."""
    given: dict[str, Any] = {
        "run": str(runs / "first"),
        "database": f"sqlite:///{folder / 'palate.db'}",
        "cache": str(folder / "cache"),
        "threads": 8,
    }
    return ServeSettings(**(given | more))


@contextmanager
def running(settings: ServeSettings) -> Iterator[Running]:
    """The service on a port of this machine, until the end."""
    app = build(lambda: Service.open(settings))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = uvicorn.Config(app, http=PromptProtocol, log_level="critical", access_log=False)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        until = time.monotonic() + 30
        while not server.started and thread.is_alive() and time.monotonic() < until:
            time.sleep(0.01)
        assert server.started, "the service did not start; its log says why"
        here = Running(f"http://127.0.0.1:{listening.getsockname()[1]}", app.state.service)
        try:
            yield here
        finally:
            for client in here.opened:
                client.close()
            server.should_exit = True
            thread.join(15)


def chat(client: httpx2.Client, **more: Any) -> httpx2.Response:
    """A chat completion of the echo upstream, for Alice."""
    body = {
        "model": "any",
        "messages": [{"role": "user", "content": PROMPT}],
        "user": "alice",
        "candidates": [DISLIKED, LIKED],
    }
    given = {name: value for name, value in (body | more).items() if value is not None}
    return client.post("/v1/chat/completions", json=given)


def teach(client: httpx2.Client, count: int = 8, user: str = "alice", sign: int = 1) -> None:
    """Answers of a user who likes light."""
    draw = random.Random(1)
    for _ in range(count):
        with_light = f"{text(draw)} light light"
        pair = (with_light, f"{text(draw)} bed bed")[::sign]
        body = {"type": "comparison", "user": user, "prompt": PROMPT}
        said = client.post("/v1/feedback", json={**body, "chosen": pair[0], "rejected": pair[1]})
        assert said.status_code == 201, said.text


def assert_error(response: httpx2.Response, status: int, code: str | None = None) -> dict[str, Any]:
    """An error in the one shape."""
    assert response.status_code == status, response.text
    content = response.json()
    assert list(content) == ["error"]
    error: dict[str, Any] = content["error"]
    assert set(error) == {"message", "type", "code", "param"}
    assert "Traceback" not in response.text
    if code is not None:
        assert error["code"] == code
    return error
