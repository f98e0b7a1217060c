"""The database goes and comes back under a running service: 503, nothing lost, no restart."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.service.http.world import (
    DISLIKED,
    LIKED,
    PROMPT,
    Running,
    assert_error,
    chat,
    running,
    settings_of,
)
from tests.service.private_postgresql import PrivateServer, private_server


@pytest.fixture(scope="module")
def own_server(postgresql: PrivateServer) -> Iterator[PrivateServer]:
    """A server that may be stopped."""
    del postgresql  # or the reason to skip
    with private_server() as server:
        yield server


@pytest.fixture
def served(runs: Path, tmp_path: Path, own_server: PrivateServer) -> Iterator[Running]:
    url = own_server.create(f"gone_{time.monotonic_ns()}")
    with running(settings_of(runs, tmp_path, database=url, deadline=8.0)) as here:
        yield here


def say(client: httpx2.Client, number: int) -> httpx2.Response:
    body = {"type": "comparison", "user": "alice", "prompt": PROMPT, "time": float(number)}
    body |= {"chosen": f"{LIKED} {number}", "rejected": DISLIKED, "idempotency_key": str(number)}
    return client.post("/v1/feedback", json=body)


@pytest.mark.parametrize("how", ["fast", "immediate"])
def test_gone_and_back(served: Running, own_server: PrivateServer, how: str) -> None:
    client = served.client()
    acknowledged = [number for number in range(3) if say(client, number).status_code == 201]
    assert chat(client).json()["personalization"]["personalized"]
    served.service.recorder.flush()
    own_server.stop(how)
    try:
        for response in (say(client, 3), client.get("/v1/users/alice"), client.get("/readyz")):
            assert_error(response, 503, "store_unavailable")
            assert int(response.headers["Retry-After"]) >= 1
        plain = chat(client)
        assert plain.status_code == 200
        assert plain.json()["choices"][0]["message"]["content"] == DISLIKED
        assert plain.json()["personalization"]["reason"] == "store_unavailable"
        assert client.get("/healthz").status_code == 200
        with httpx2.Client(base_url=served.url) as nobody:
            headers = {"Authorization": "Bearer palate_0_0"}
            assert_error(nobody.get("/v1/users", headers=headers), 503)
    finally:
        own_server.start()
    until = time.monotonic() + 20
    while client.get("/readyz").status_code != 200:
        assert time.monotonic() < until
        time.sleep(0.1)
    kept = client.get("/v1/users/alice/answers").json()["data"]
    assert [entry["time"] for entry in kept] == [float(number) for number in acknowledged]
    assert say(client, 3).status_code == 201
    assert say(client, 0).json()["repeated"]
    assert chat(client).json()["personalization"]["answers"] == 4
