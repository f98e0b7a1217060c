"""Rates, quotas, many requests at once, late scores: each told in the one shape, in time."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from palate.errors import BackboneError, SettingsError
from palate.service.http.batching import BusyError
from palate.service.http.settings import VARIABLE, ServeSettings
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

SCORE = {"user": "alice", "prompt": PROMPT, "responses": [LIKED, DISLIKED]}


def test_a_keys_rate(served: Running) -> None:
    client = served.client("slow", per_second=2.0)
    responses = [client.post("/v1/score", json=SCORE) for _ in range(12)]
    refused = [one for one in responses if one.status_code != 200]
    assert refused
    for one in refused:
        assert_error(one, 429, "rate_limit_exceeded")
        assert int(one.headers["Retry-After"]) >= 1
    assert served.client("quick").post("/v1/score", json=SCORE).status_code == 200


def test_a_keys_quota(served: Running) -> None:
    client = served.client("few", per_day=3)
    statuses = [client.post("/v1/score", json=SCORE).status_code for _ in range(4)]
    assert statuses == [200, 200, 200, 429]
    response = client.post("/v1/score", json=SCORE)
    assert_error(response, 429, "quota_exceeded")
    assert 0 < int(response.headers["Retry-After"]) <= 86400


def test_a_revoked_key_ends(served: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    client = served.client()
    assert client.get("/v1/users").status_code == 200
    store = served.service.store
    owner = store.tenants.named("default").id
    store.keys.revoke(owner, store.keys.all(owner)[0].public)
    monkeypatch.setattr("palate.service.http.keyring.FRESH", 0.0)
    served.service.keyring._known.clear()
    assert_error(client.get("/v1/users"), 401, "invalid_key")


def failing(error: BaseException | float) -> Any:
    def rank(*given: object) -> None:
        if isinstance(error, float):
            time.sleep(error)
            return
        raise error

    return rank


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (BackboneError("no"), "scoring_failed: BackboneError"),
        (RuntimeError("no"), "scoring_failed: RuntimeError"),
        (BusyError("no"), "busy"),
        (1.0, "scoring_late"),
    ],
)
def test_scoring_that_fails_gives_the_plain_answer(
    runs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException | float,
    reason: str,
) -> None:
    with running(settings_of(runs, tmp_path, scoring=0.3)) as here:
        client = here.client()
        monkeypatch.setattr(here.service.serving, "rank", failing(error))
        started = time.monotonic()
        content = chat(client).json()
        assert time.monotonic() - started < 0.9
        assert content["choices"][0]["message"]["content"] == DISLIKED
        assert content["personalization"]["reason"] == reason
        assert not content["personalization"]["personalized"]
        text = here.client().get("/metrics").text
        assert f'palate_completions_total{{outcome="{reason.partition(":")[0]}"}} 1.0' in text


def test_a_fault_of_ours_is_a_500_without_a_trace(
    served: Running, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(served.service.serving, "reward", failing(RuntimeError("a secret text")))
    response = served.client().post("/v1/score", json=SCORE)
    assert_error(response, 500, "internal")
    log = capfd.readouterr().err
    assert "RuntimeError" in log
    assert "test_limits.py" in log  # where it came from
    assert "a secret text" not in log + response.text


def test_too_late_is_a_504(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(settings_of(runs, tmp_path, deadline=0.3)) as here:
        monkeypatch.setattr(here.service.serving, "reward", failing(1.0))
        client = here.client()
        started = time.monotonic()
        assert_error(client.post("/v1/score", json=SCORE), 504, "deadline")
        assert time.monotonic() - started < 0.9


def test_too_many_at_once(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(settings_of(runs, tmp_path, most_requests=2, threads=4)) as here:
        client = here.client()
        client.get("/v1/users")
        free = threading.Event()
        reward = here.service.serving.reward

        def waiting(*given: Any) -> Any:
            free.wait(10)
            return reward(*given)

        monkeypatch.setattr(here.service.serving, "reward", waiting)
        slow = [
            threading.Thread(target=client.post, args=("/v1/score",), kwargs={"json": SCORE})
            for _ in range(2)
        ]
        for thread in slow:
            thread.start()
        end = time.monotonic() + 5
        while (response := client.get("/healthz")).status_code == 200:
            assert time.monotonic() < end
        assert_error(response, 503, "busy")
        assert response.headers["Retry-After"] == "1"
        free.set()
        for thread in slow:
            thread.join()
        assert client.get("/healthz").status_code == 200


def test_what_is_counted_and_logged(served: Running, capfd: pytest.CaptureFixture[str]) -> None:
    client = served.client()
    client.headers["X-Request-Id"] = "trace-7"
    response = chat(client)
    assert response.headers["X-Request-Id"] == "trace-7"
    client.get("/v1/users/alice")
    text = client.get("/metrics").text
    labels = 'method="POST",route="/v1/chat/completions",status="200"'
    assert f"palate_requests_total{{{labels}}} 1.0" in text
    assert 'route="/v1/users/{user}"' in text
    log = capfd.readouterr().err
    assert '"id": "trace-7"' in log
    assert '"route": "/v1/users/{user}"' in log
    assert "alice" not in log.replace('"key": "alice"', "")


def test_settings_travel_whole() -> None:
    settings = ServeSettings("runs/first", deadline=3.0, upstream="http://a/v1")
    assert ServeSettings.of_environment(settings.in_environment()) == settings
    with pytest.raises(SettingsError, match=VARIABLE):
        ServeSettings.of_environment({})


@pytest.mark.parametrize(
    "wrong",
    [{"deadline": 0.0}, {"scoring": float("nan")}, {"candidates": 0}, {"candidates": 17},
     {"threads": 0}, {"half_life": -1.0}],
)  # fmt: skip
def test_settings_that_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="expected"):
        ServeSettings("runs/first", **wrong)
