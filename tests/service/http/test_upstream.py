"""An upstream that hangs, talks nonsense, cuts off or limits: each request ends, and is clear."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from palate.errors import SettingsError
from palate.service.http.upstream.remote import Remote
from tests.service.http.world import (
    DISLIKED,
    LIKED,
    Running,
    assert_error,
    chat,
    running,
    settings_of,
    teach,
)
from tests.unit.alignment.stand_in import StandIn, always, standing_in

DEADLINE = 1.5


@pytest.fixture(scope="module")
def upstream() -> Iterator[StandIn]:
    with standing_in(StandIn(patience=3.0)) as stand_in:
        yield stand_in


@pytest.fixture(scope="module")
def behind(
    runs: Path, upstream: StandIn, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("behind")
    settings = settings_of(runs, folder, upstream=upstream.url, deadline=DEADLINE)
    with running(settings) as here:
        yield here


@pytest.fixture
def client(behind: Running, upstream: StandIn) -> httpx2.Client:
    upstream.manner = always("good")
    upstream.speaker = lambda body, choice: LIKED if choice % 2 else DISLIKED
    upstream.most_choices = 100
    upstream.log.clear()
    return behind.client()


def ask(client: httpx2.Client, **more: object) -> httpx2.Response:
    return chat(client, candidates=None, **more)


def test_candidates_come_from_upstream(client: httpx2.Client, upstream: StandIn) -> None:
    teach(client)
    content = ask(client, temperature=0.5, metadata={"user_id": "alice", "trip": "1"}).json()
    assert content["choices"][0]["message"]["content"] == LIKED
    assert content["personalization"]["candidates"] == 4
    (logged,) = upstream.log
    assert logged.body["n"] == 4
    assert logged.body["temperature"] == 0.5
    assert logged.body["metadata"] == {"trip": "1"}


def test_no_name_of_a_user_goes_upstream(client: httpx2.Client, upstream: StandIn) -> None:
    client.headers["X-Palate-User"] = "mallory"
    names = {"user": "alice", "safety_identifier": "alice-id", "metadata": {"user_id": "alice"}}
    ask(client, **names)
    del client.headers["X-Palate-User"]
    ask(client, **names)
    ask(client, **names)
    for logged in upstream.log:
        told = str(logged.body) + str(logged.headers)
        assert "alice" not in told
        assert "mallory" not in told
        assert client.headers["Authorization"] not in told
        assert logged.body["user"].startswith("palate-")
    users = [logged.body["user"] for logged in upstream.log]
    assert users[0] != users[1] == users[2]


@pytest.mark.parametrize("most", [1, 2, 3])
def test_an_upstream_that_gives_few_at_once_is_asked_again(
    client: httpx2.Client, upstream: StandIn, most: int
) -> None:
    upstream.most_choices = most
    content = ask(client).json()
    assert content["personalization"]["candidates"] == 4
    assert len(upstream.log) == 1 + 4 - most
    assert content["usage"]["completion_tokens"] == sum(
        logged.completion_tokens for logged in upstream.log
    )


def test_an_upstream_that_refuses_many_is_asked_for_one(
    client: httpx2.Client, upstream: StandIn
) -> None:
    upstream.manner = lambda body, number: "bad request" if body["n"] > 1 else "good"
    assert ask(client).json()["personalization"]["candidates"] == 4


def test_the_first_answer_counts_where_others_fail(
    client: httpx2.Client, upstream: StandIn
) -> None:
    upstream.most_choices = 1
    upstream.manner = lambda body, number: "overloaded" if len(upstream.log) else "good"
    content = ask(client).json()
    assert content["choices"][0]["message"]["content"] == DISLIKED
    assert content["personalization"]["candidates"] == 1


FAULTS = {
    "rate-limited": (429, "upstream_rate_limited"),
    "overloaded": (502, "upstream_failed"),
    "unauthorised": (502, "upstream_failed"),
    "bad request": (400, "upstream_refused"),
    "malformed": (502, "upstream_invalid"),
    "no choices": (502, "upstream_invalid"),
    "empty": (502, "upstream_invalid"),
    "cut off": (502, "upstream_failed"),
    "late": (504, "deadline"),
    "drip": (504, "deadline"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_every_fault_ends_in_time(
    client: httpx2.Client, upstream: StandIn, fault: str, stream: bool
) -> None:
    upstream.manner = always(fault)
    started = time.monotonic()
    response = ask(client, stream=stream, n=1, best_of=1)
    assert time.monotonic() - started < DEADLINE + 1
    assert_error(response, *FAULTS[fault])
    if fault == "rate-limited":
        assert int(response.headers["Retry-After"]) >= 1
    if fault == "bad request":
        assert "the prompt is too long" in response.text


def test_the_clients_deadline_is_kept(client: httpx2.Client, upstream: StandIn) -> None:
    upstream.manner = always("late")
    client.headers["X-Palate-Deadline"] = "0.4"
    started = time.monotonic()
    assert_error(ask(client), 504)
    assert time.monotonic() - started < 1.2


def test_no_upstream_at_all(runs: Path, tmp_path: Path) -> None:
    with running(settings_of(runs, tmp_path, upstream="http://127.0.0.1:9/v1")) as here:
        assert_error(ask(here.client()), 502, "upstream_failed")


def test_calls_of_tools_are_passed_on(client: httpx2.Client, upstream: StandIn) -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    spoilt = upstream._in_manner

    async def calling(manner: str, completion: dict[str, Any]) -> Any:
        for choice in completion["choices"]:
            choice["message"] = {"role": "assistant", "content": None, "tool_calls": [call]}
            choice["finish_reason"] = "tool_calls"
        return await spoilt(manner, completion)

    upstream._in_manner = calling  # type: ignore[method-assign]
    try:
        content = ask(client).json()
        streamed = ask(client, stream=True).text
    finally:
        upstream._in_manner = spoilt  # type: ignore[method-assign]
    assert content["choices"][0]["message"]["tool_calls"] == [call]
    assert content["choices"][0]["finish_reason"] == "tool_calls"
    assert content["personalization"]["reason"] == "not_text"
    assert '"tool_calls": [{"index": 0, "id": "c"' in streamed


def test_candidates_are_for_the_echo(client: httpx2.Client) -> None:
    assert assert_error(chat(client), 422)["param"] == "candidates"


@pytest.mark.parametrize("url", ["", "ftp://a/v1", "127.0.0.1", "http://user:key@host/v1"])
def test_an_upstream_that_is_none(url: str) -> None:
    with pytest.raises(SettingsError, match="expected echo, small, or a URL") as error:
        Remote(url, None)
    assert "key in it" in str(error.value)
