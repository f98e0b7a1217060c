"""From one model to the next while requests go on: none fails, and every worker follows."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest

from palate.service.http.starting import first_key, prefer
from tests.service.http.world import (
    DISLIKED,
    LIKED,
    PROMPT,
    Running,
    assert_error,
    chat,
    running,
    settings_of,
    teach,
)
from tests.service.worlds import assert_same, refit

SCORE = {"user": "alice", "prompt": PROMPT, "responses": [LIKED, DISLIKED]}


def until(done: Any, seconds: float = 15.0) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.02)


def serving(client: httpx2.Client) -> str:
    content: dict[str, Any] = client.get("/v1/admin/models").json()
    return str(content["serving"]["model"])


def test_no_request_fails_and_posteriors_are_refits(served: Running) -> None:
    client = served.client()
    for user in ("alice", "bob"):
        teach(client, 4, user)
    before = client.post("/v1/score", json=SCORE).json()
    stop, statuses, models = threading.Event(), [], set()

    def go_on(number: int) -> None:
        with httpx2.Client(base_url=served.url, headers=dict(client.headers)) as own:
            while not stop.is_set():
                response = chat(own) if number else own.post("/v1/score", json=SCORE)
                statuses.append(response.status_code)
                content = response.json()
                models.add(content.get("personalization", content)["model"])

    threads = [threading.Thread(target=go_on, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    begun = client.post("/v1/admin/models", json={"model": "second"})
    assert begun.status_code == 202
    until(lambda: serving(client) == "second")
    time.sleep(0.2)
    stop.set()
    for thread in threads:
        thread.join()
    assert set(statuses) == {200}
    assert len(models) == 2
    after = client.post("/v1/score", json=SCORE).json()
    assert after["model"] != before["model"]
    assert after["answers"] == before["answers"] == 4
    status = client.get("/v1/admin/models").json()["rollover"]
    assert (status["state"], status["made"]) == ("done", status["users"])
    store, users = served.service.store, served.service.serving.model.users
    tenant = store.tenants.named("default").id
    for user in ("alice", "bob"):
        profile = served.service.serving.profile(tenant, user)
        assert_same(profile, refit(store, users, tenant, user))


def test_another_worker_follows_and_a_restart_does_too(runs: Path, tmp_path: Path) -> None:
    settings = settings_of(runs, tmp_path)
    with running(settings) as one, running(settings) as other:
        client, behind = one.client(), other.client("other")
        client.post("/v1/admin/models", json={"model": "second"})
        until(lambda: serving(behind) == "second")
        assert one.service.serving.identity == other.service.serving.identity
    with running(settings) as again:
        assert again.service.serving.run.name == "second"


def test_which_model_a_start_serves(runs: Path, tmp_path: Path) -> None:
    """A run that is new is served; one that was rolled over from is not, unless it is told."""
    first = settings_of(runs, tmp_path)
    second = settings_of(runs, tmp_path, run=str(runs / "second"))
    assert prefer(first, switch=False) is None
    assert prefer(second, switch=False) is None
    assert prefer(first, switch=False) is not None
    assert prefer(second, switch=False) is None
    assert prefer(first, switch=True) is None
    assert prefer(second, switch=False) is not None
    assert str(first_key(first)).startswith("palate_")
    assert first_key(first) is None


def test_one_at_a_time(served: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    from palate.service.http import switching

    go = threading.Event()
    made = switching.rebuild

    def slow(*given: Any, **more: Any) -> int:
        go.wait(10)
        return made(*given, **more)

    monkeypatch.setattr(switching, "rebuild", slow)
    client = served.client()
    client.post("/v1/admin/models", json={"model": "second"})
    again = client.post("/v1/admin/models", json={"model": "second"})
    go.set()
    assert_error(again, 409, "rollover_under_way")
    until(lambda: serving(client) == "second")
    assert client.post("/v1/admin/models", json={"model": "first"}).status_code == 202
    until(lambda: serving(client) == "first")


def test_a_rebuild_that_fails_leaves_the_old_model(
    served: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    from palate.service.http import switching

    def broken(*given: Any, **more: Any) -> int:
        raise RuntimeError("a text")

    monkeypatch.setattr(switching, "rebuild", broken)
    client = served.client()
    client.post("/v1/admin/models", json={"model": "second"})
    until(lambda: client.get("/v1/admin/models").json()["rollover"]["state"] == "failed")
    assert serving(client) == "first"
    assert "a text" not in client.get("/v1/admin/models").text


@pytest.mark.parametrize("name", ["third", "../runs/second", "backbone"])
def test_a_model_that_is_none(served: Running, name: str) -> None:
    client = served.client()
    error = assert_error(client.post("/v1/admin/models", json={"model": name}), 422)
    assert error["param"] == "model"
    assert serving(client) == "first"
