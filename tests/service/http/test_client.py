"""The Python client against the service, in both ways; and against what goes wrong."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from palate.client import AsyncPalate, Palate, ServiceError
from palate.client.answers import Scored, User, read, read_list
from tests.service.http.world import DISLIKED, LIKED, PROMPT, Running, chat


@pytest.fixture
def client(shared: Running) -> Iterator[Palate]:
    with Palate(shared.url, shared.key("alice")) as made:
        yield made


def test_all_of_it(shared: Running, client: Palate) -> None:
    said = client.compare("cleo", PROMPT, LIKED, DISLIKED, time=5.0, weight=0.5)
    assert (said.user, said.answers, said.repeated) == ("cleo", [1], False)
    client.order("cleo", PROMPT, [LIKED, DISLIKED, "read a book"])
    done = chat(shared.client(), user="cleo").json()
    assert client.thumb(done["id"], "up").user == "cleo"
    assert len(client.answers("cleo")) == 5
    assert 3 <= client.user("cleo").answers <= 4  # what was said before counts once
    scores = client.score("cleo", PROMPT, [LIKED, DISLIKED])
    ranked = client.rerank("cleo", PROMPT, [LIKED, DISLIKED], top_n=1)
    assert ranked[0].index == max(scores, key=lambda one: one.score).index
    pool = [{"prompt": PROMPT, "response_a": "more", "response_b": "red"}]
    asked = client.question("cleo", pool)
    assert (asked.questions[0].response_a, asked.questions[0].index) == ("more", 0)
    assert asked.settled is (asked.change is not None and asked.change < 0.05)
    first = client.answers("cleo", limit=1)[0]
    assert (first.chosen, first.weight, first.time, first.origin) == (LIKED, 0.5, 5.0, "comparison")
    assert client.withdraw("cleo", 1).answer == 1
    assert client.export("cleo")["user"] == "cleo"
    assert "cleo" in client.users()
    gone = client.erase("cleo")
    assert (gone.completions, gone.traces) == (1, False)
    with pytest.raises(ServiceError, match="no user") as error:
        client.user("cleo")
    assert (error.value.status, error.value.code, error.value.passes) == (404, "not_found", False)


def test_it_counts_once_under_a_key(client: Palate) -> None:
    given = (PROMPT, LIKED, DISLIKED)
    one, two = (client.compare("kay", *given, idempotency_key="k") for _ in range(2))
    assert (one.repeated, two.repeated) == (False, True)


def test_without_waiting(shared: Running) -> None:
    async def scores() -> list[list[Scored]]:
        async with AsyncPalate(shared.url, shared.key("alice")) as client:
            await client.compare("asa", PROMPT, LIKED, DISLIKED)
            assert (await client.user("asa")).answers == 1
            asked = (client.score("asa", PROMPT, [text]) for text in (LIKED, DISLIKED))
            return await asyncio.gather(*asked)

    one, other = asyncio.run(scores())
    assert one[0].score != other[0].score


def test_both_clients_can_the_same() -> None:
    def public(kind: type) -> dict[str, Any]:
        members = inspect.getmembers(kind, inspect.isfunction)
        return {name: inspect.signature(f) for name, f in members if not name.startswith("_")}

    assert public(Palate) == public(AsyncPalate)


class Faulty(BaseHTTPRequestHandler):
    """Answers as the test says, one after the other."""

    answers: Iterator[tuple[int, dict[str, str], bytes]]
    bodies: list[bytes]

    def do_POST(self) -> None:
        self.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        status, headers, body = next(self.answers)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST  # noqa: N815

    def log_message(self, *given: object) -> None:
        """Nothing."""


@pytest.fixture
def faulty() -> Iterator[tuple[Palate, type[Faulty]]]:
    handler = type("Own", (Faulty,), {"bodies": []})
    server = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    with Palate(f"http://127.0.0.1:{server.server_port}", "key") as client:
        yield client, handler
    server.shutdown()
    server.server_close()


KEPT = b'{"user": "a", "answers": [1], "repeated": false, "new": 1}'
BUSY = (503, {"Retry-After": "0"}, b'{"error": {"message": "not now", "code": "busy"}}')


def test_what_passes_is_sent_again_under_the_same_key(faulty: tuple[Palate, type[Faulty]]) -> None:
    client, handler = faulty
    handler.answers = iter([BUSY, (429, {"Retry-After": "0"}, b"{}"), (201, {}, KEPT)])
    assert client.compare("a", "p", "x", "y").answers == [1]
    assert len(handler.bodies) == 3
    assert len(set(handler.bodies)) == 1
    assert b"idempotency_key" in handler.bodies[0]


def test_what_does_not_pass_is_told(faulty: tuple[Palate, type[Faulty]]) -> None:
    client, handler = faulty
    handler.answers = itertools.repeat(BUSY)
    with pytest.raises(ServiceError, match="not now") as error:
        client.compare("a", "p", "x", "y")
    assert (error.value.status, len(handler.bodies)) == (503, 4)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ((200, {}, b"<html>"), "unknown"),
        ((200, {}, b"[]"), "unknown"),
        ((200, {}, b'{"user": "a"}'), "unreadable"),
        ((400, {}, b'{"error": "text"}'), "unknown"),
        ((503, {"Retry-After": "3600"}, b""), "unknown"),
    ],
)
def test_answers_that_are_none(
    faulty: tuple[Palate, type[Faulty]], answer: tuple[int, dict[str, str], bytes], code: str
) -> None:
    client, handler = faulty
    handler.answers = iter([answer])
    with pytest.raises(ServiceError) as error:
        client.compare("a", "p", "x", "y")
    assert error.value.code == code


def test_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("palate.client.synchronous.clock.sleep", lambda seconds: None)
    with (
        Palate("http://127.0.0.1:9", "key") as client,
        pytest.raises(ServiceError, match="does not answer") as error,
    ):
        client.users()
    assert error.value.status == 0


def test_reading_is_strict_about_what_is_there() -> None:
    with pytest.raises(ServiceError, match="no User"):
        read(User, {})
    with pytest.raises(ServiceError, match="no list 'data'"):
        read_list(Scored, {"data": 1})
