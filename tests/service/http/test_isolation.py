"""Alice owns, Bob is on her team, Charlie must see nothing: on every route of the application."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi.routing import APIRoute

from palate.service.http.app import ROUTERS
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

SECRET = "the air scatters blue light because alice said so"
ROUTES = sorted(
    (method, route.path)
    for module in ROUTERS
    for route in module.router.routes
    if isinstance(route, APIRoute)
    for method in route.methods
)
OPEN = {("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/metrics")}


@dataclass(frozen=True)
class Cast:
    alice: httpx2.Client
    bob: httpx2.Client
    charlie: httpx2.Client
    completion: str


@pytest.fixture(scope="module")
def cast(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cast]:
    with running(settings_of(runs, tmp_path_factory.mktemp("cast"))) as here:
        alice, bob = here.client("alice", "team"), here.client("bob", "team")
        done = chat(alice, candidates=[SECRET, LIKED]).json()
        teach(alice, 3)
        yield Cast(alice, bob, here.client("charlie", "strangers"), done["id"])


def nothing(response: httpx2.Response) -> None:
    assert_error(response, 404, "not_found")


def forbidden(response: httpx2.Response) -> None:
    assert_error(response, 403, "not_operator")


def empty(response: httpx2.Response) -> None:
    assert response.json()["data"] == []


def as_of_nobody(response: httpx2.Response) -> None:
    """What is said of a user of whom nothing is known."""
    assert response.status_code == 200
    content = response.json()
    told = content.get("answers", content.get("personalization", {}).get("answers", 0))
    assert told == 0


Try = tuple[Callable[[httpx2.Client, Cast], httpx2.Response], Callable[[httpx2.Response], None]]


def get(path: str) -> Callable[[httpx2.Client, Cast], httpx2.Response]:
    return lambda client, cast: client.get(path)


def delete(path: str) -> Callable[[httpx2.Client, Cast], httpx2.Response]:
    return lambda client, cast: client.delete(path)


def post(path: str, **body: Any) -> Callable[[httpx2.Client, Cast], httpx2.Response]:
    return lambda client, cast: client.post(path, json=body)


def thumb(client: httpx2.Client, cast: Cast) -> httpx2.Response:
    body = {"type": "thumb", "completion_id": cast.completion, "value": "up"}
    return client.post("/v1/feedback", json=body)


DOCUMENTS = [LIKED, DISLIKED]
#: What Charlie may try on each route, and what he must get. A route that is new has to be added.
TRIES: dict[tuple[str, str], Try] = {
    ("POST", "/v1/chat/completions"): (lambda client, cast: chat(client), as_of_nobody),
    ("POST", "/v1/rerank"): (
        post("/v1/rerank", query=PROMPT, documents=DOCUMENTS, user="alice"),
        as_of_nobody,
    ),
    ("POST", "/v1/score"): (
        post("/v1/score", prompt=PROMPT, responses=DOCUMENTS, user="alice"),
        as_of_nobody,
    ),
    ("POST", "/v1/feedback"): (thumb, nothing),
    ("GET", "/v1/users"): (get("/v1/users?after=&limit=10"), empty),
    ("GET", "/v1/users/{user}"): (get("/v1/users/alice"), nothing),
    ("GET", "/v1/users/{user}/answers"): (get("/v1/users/alice/answers"), nothing),
    ("GET", "/v1/users/{user}/answers/{number}"): (get("/v1/users/alice/answers/1"), nothing),
    ("DELETE", "/v1/users/{user}/answers/{number}"): (
        delete("/v1/users/alice/answers/1"),
        nothing,
    ),
    ("GET", "/v1/users/{user}/export"): (get("/v1/users/alice/export"), nothing),
    ("POST", "/v1/users/{user}/question"): (post("/v1/users/alice/question"), nothing),
    ("DELETE", "/v1/users/{user}"): (delete("/v1/users/alice"), nothing),
    ("GET", "/v1/admin/models"): (get("/v1/admin/models"), forbidden),
    ("POST", "/v1/admin/models"): (post("/v1/admin/models", model="second"), forbidden),
}
ORDER = sorted(TRIES, key=lambda route: route[1] == "/v1/chat/completions")  # it makes a user


def test_no_route_escapes() -> None:
    assert set(TRIES) | OPEN == set(ROUTES)


@pytest.mark.parametrize("route", ORDER, ids=" ".join)
def test_charlie_sees_nothing(route: tuple[str, str], cast: Cast) -> None:
    attempt, expected = TRIES[route]
    before = cast.alice.get("/v1/users/alice/export").json()
    response = attempt(cast.charlie, cast)
    expected(response)
    assert SECRET not in response.text
    after = cast.alice.get("/v1/users/alice/export").json()
    assert before["entries"] == after["entries"]
    assert len(after["completions"]) == 1


@pytest.mark.parametrize("route", ORDER, ids=" ".join)
def test_without_a_key_or_with_a_wrong_one(route: tuple[str, str], cast: Cast) -> None:
    attempt, _ = TRIES[route]
    with httpx2.Client(base_url=cast.alice.base_url) as nobody:
        assert_error(attempt(nobody, cast), 401, "no_key")
        nobody.headers["Authorization"] = "Bearer palate_0_0"
        assert_error(attempt(nobody, cast), 401, "invalid_key")
        nobody.headers["Authorization"] = "Basic YTpi"
        assert_error(attempt(nobody, cast), 401, "no_key")


def test_bob_sees_what_alice_sees(cast: Cast) -> None:
    for path in ("", "/answers", "/answers/1", "/export"):
        responses = [who.get(f"/v1/users/alice{path}") for who in (cast.alice, cast.bob)]
        contents = [response.json() for response in responses]
        for content in contents:
            content.pop("exported", None)
        assert contents[0] == contents[1]
    assert thumb(cast.bob, cast).status_code == 201


def test_charlies_alice_is_another(cast: Cast) -> None:
    teach(cast.charlie, 1)
    assert len(cast.charlie.get("/v1/users/alice/answers").json()["data"]) == 1
    assert cast.charlie.delete("/v1/users/alice").status_code == 200
    assert len(cast.alice.get("/v1/users/alice/answers").json()["data"]) >= 3


@pytest.mark.parametrize("route", sorted(OPEN), ids=" ".join)
def test_what_is_open_tells_of_nobody(route: tuple[str, str], cast: Cast) -> None:
    with httpx2.Client(base_url=cast.alice.base_url) as nobody:
        response = nobody.request(*route)
    assert response.status_code == 200
    assert "alice" not in response.text
    assert "scatters" not in response.text


NEEDS = {"GET": "read", "DELETE": "write", "POST": "read"}


@pytest.mark.parametrize("route", ORDER, ids=" ".join)
def test_each_scope_is_needed(route: tuple[str, str], shared: Running) -> None:
    """A key with the other two scopes is refused."""
    method, path = route
    need = "admin" if "admin" in path else "write" if path == "/v1/feedback" else NEEDS[method]
    others = tuple(scope for scope in ("read", "write", "admin") if scope != need)
    client = shared.client(f"without {need}", scopes=others)
    attempt, _ = TRIES[route]
    fake = Cast(client, client, client, "chatcmpl-0")
    error = assert_error(attempt(client, fake), 403, "scope_missing")
    assert f"'{need}'" in error["message"]
