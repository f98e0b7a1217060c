"""Requests that mean harm, or nothing: never a 5xx, never a trace, one shape of error."""

from __future__ import annotations

import json
import socket
import time
from typing import Any

import httpx2
import pytest

from palate.service.http.errors import KINDS
from tests.service.http.world import DISLIKED, LIKED, PROMPT, Running, assert_error, chat

BODIES = {
    "nothing": b"",
    "no JSON": b"{",
    "half": b'{"user": "a", "prompt": "b", "responses": ["c"',
    "NaN": b'{"user": "a", "prompt": NaN, "responses": ["c"]}',
    "half a character": b'{"user": "a", "prompt": "\\ud800", "responses": ["c"]}',
    "no UTF-8": b'{"user": "a", "prompt": "\xff\xfe", "responses": ["c"]}',
    "deep": b"[" * 100_000 + b"]" * 100_000,
    "deep in a field": b'{"metadata": ' + b'{"a":' * 5000 + b"1" + b"}" * 5000 + b"}",
    "a long number": b'{"user": ' + b"9" * 100_000 + b"}",
    "a list": b"[1]",
    "a text": b'"text"',
    "null": b"null",
    "a BOM": b"\xef\xbb\xbf{}",
    "UTF-16": '{"user": "a"}'.encode("utf-16"),
}
POSTS = ["/v1/chat/completions", "/v1/rerank", "/v1/score", "/v1/feedback", "/v1/admin/models"]
POSTS += ["/v1/users/alice/question"]


@pytest.fixture
def client(shared: Running) -> httpx2.Client:
    return shared.client()


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_bodies_that_are_none(client: httpx2.Client, path: str, body: bytes) -> None:
    response = client.post(path, content=body, headers={"Content-Type": "application/json"})
    assert response.status_code in (400, 422)
    assert_error(response, response.status_code)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "nonsense"])
def test_kinds_of_content_that_are_none(client: httpx2.Client, kind: str) -> None:
    response = client.post("/v1/score", content=b"{}", headers={"Content-Type": kind})
    assert_error(response, 422)


#: Whole requests that hold something odd; each is answered, or refused by its field.
ODD: list[tuple[str, dict[str, Any]]] = [
    ("/v1/score", {"user": "a", "prompt": "\x00", "responses": ["\x00", ""]}),
    ("/v1/score", {"user": "a", "prompt": "", "responses": [""]}),
    ("/v1/score", {"user": "a", "prompt": "w " * 50_000, "responses": ["w " * 50_000]}),
    ("/v1/score", {"user": "a", "prompt": "\u202e\ufeff🦊", "responses": ["a\u0301" * 99]}),
    ("/v1/score", {"user": "' OR 1=1 --", "prompt": "a", "responses": ["b"]}),
    ("/v1/score", {"user": "<script>", "prompt": "a", "responses": ["b"]}),
    ("/v1/score", {"user": "a\nb", "prompt": "a", "responses": ["b"]}),
    ("/v1/score", {"user": "a", "prompt": [{"role": "root", "content": "x"}], "responses": ["b"]}),
    ("/v1/score", {"user": "a", "prompt": "a", "responses": ["b"] * 1001}),
    ("/v1/rerank", {"user": "a", "query": "q", "documents": ["d"] * 1001}),
    ("/v1/rerank", {"user": "a", "query": "q", "documents": [{"image": "d"}]}),
    ("/v1/rerank", {"user": "a", "query": "q", "documents": ["d"], "top_n": -1}),
    ("/v1/rerank", {"user": "a", "query": "q", "documents": ["d"], "top_n": 10**30}),
    ("/v1/chat/completions", {"model": "m", "messages": [{"role": "user"}], "user": "a"}),
    (
        "/v1/chat/completions",
        {"model": "m", "messages": [{"role": "user", "content": [{}]}], "user": "a"},
    ),
    (
        "/v1/chat/completions",
        {"model": "m", "messages": [{"role": "user", "content": [{"type": "text"}]}], "user": "a"},
    ),
    (
        "/v1/chat/completions",
        {"model": "m", "messages": [{"role": "user", "content": "a"}], "logit_bias": {"1": 1e308}},
    ),
    ("/v1/users/a/question", {"pool": [{"prompt": "p", "response_a": "x", "response_b": "x"}]}),
    ("/v1/users/a/question", {"pool": []}),
    ("/v1/users/a/question", {"count": 0}),
    ("/v1/admin/models", {"model": "../../etc"}),
    ("/v1/admin/models", {"model": ".."}),
    ("/v1/admin/models", {"model": "/etc/passwd"}),
    ("/v1/admin/models", {"model": "nothing"}),
    ("/v1/admin/models", {"model": "a\x00b"}),
    ("/v1/admin/models", {"model": "x" * 255}),
]


@pytest.mark.parametrize(("path", "body"), ODD)
def test_odd_requests(client: httpx2.Client, path: str, body: dict[str, Any]) -> None:
    response = client.post(path, json=body)
    if response.status_code != 200:
        assert 400 <= response.status_code < 500, response.text
        assert_error(response, response.status_code)


PATHS = [
    "/v1/users/..%2F..%2Fetc",
    "/v1/users/%00",
    "/v1/users/%ff",
    "/v1/users/" + "a" * 5000,
    "/v1/users/alice/answers/0",
    "/v1/users/alice/answers/-1",
    "/v1/users/alice/answers/99999999999999999999",
    "/v1/users/alice/answers?after=-1",
    "/v1/users/alice/answers?after=9223372036854775807",
    "/v1/users/alice/answers?limit=0",
    "/v1/users/alice/answers?limit=1001",
    "/v1/users?after=%00",
    "/v1/users?after=" + "a" * 300,
    "/v1/users?limit=x",
    "/v1/",
    "//",
    "/docs",
    "/v1/users/",
]


@pytest.mark.parametrize("path", PATHS)
def test_odd_paths(client: httpx2.Client, path: str) -> None:
    response = client.get(path)
    assert response.status_code in (404, 422)
    assert_error(response, response.status_code)


@pytest.mark.parametrize("method", ["PUT", "PATCH", "OPTIONS", "TRACE"])
def test_other_methods(client: httpx2.Client, method: str) -> None:
    assert_error(client.request(method, "/v1/score"), 405)


def test_too_large_a_body_is_not_read(client: httpx2.Client) -> None:
    assert_error(chat(client, model="m", user="a" * 2**20), 413, "too_large")


def test_too_large_a_body_in_pieces(client: httpx2.Client) -> None:
    pieces = (b" " * 65_536 for _ in range(40))
    response = client.post(
        "/v1/score", content=pieces, headers={"Content-Type": "application/json"}
    )
    assert_error(response, 413, "too_large")


def test_a_client_that_goes_away(
    shared: Running, client: httpx2.Client, capfd: pytest.CaptureFixture[str]
) -> None:
    """Half a request, and the end; the next is served, and nobody is woken at night."""
    host, port = shared.url.removeprefix("http://").split(":")
    for _ in range(5):
        with socket.create_connection((host, int(port))) as half:
            half.sendall(b"POST /v1/score HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\n{")
    assert client.get("/healthz").status_code == 200
    until, log = time.monotonic() + 5, ""
    while log.count('"status": 499') < 5:
        assert time.monotonic() < until
        log += capfd.readouterr().err
    assert '"level": "error"' not in log


def test_errors_hold_nothing_of_the_body(client: httpx2.Client) -> None:
    body = {"user": "a", "prompt": 7, "responses": ["a secret of Alice"]}
    response = client.post("/v1/score", json=body)
    assert "secret" not in response.text
    body = {"type": "comparison", "user": "a", "prompt": PROMPT, "chosen": "a secret", "tie": []}
    assert "secret" not in client.post("/v1/feedback", json=body).text


def test_keys_that_are_none(shared: Running) -> None:
    with httpx2.Client(base_url=shared.url) as client:
        for given in ("Bearer", "bearer x", "Token x", "Bearer " + "x" * 5000, "Bearer \xff"):
            headers = {"Authorization": given.encode("latin-1")}
            assert_error(client.get("/v1/users", headers=headers), 401)


def test_a_request_that_says_much_is_answered_in_numbers(client: httpx2.Client) -> None:
    body = {"user": "a", "prompt": PROMPT, "responses": [LIKED, DISLIKED] * 500}
    content = client.post("/v1/score", json=body).json()
    assert len(content["data"]) == 1000
    assert all(isinstance(one["score"], float) for one in content["data"])
    json.dumps(content, allow_nan=False)


def test_kinds_of_errors_are_openais(client: httpx2.Client) -> None:
    assert set(KINDS) == {401, 403, 404, 409, 429, 502, 503, 504}
    assert assert_error(client.get("/v1/users/nobody"), 404)["type"] == "not_found_error"
    error = assert_error(client.post("/v1/score", json={}), 422)
    assert error["type"] == "invalid_request_error"
