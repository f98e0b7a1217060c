"""An endpoint of our own that speaks OpenAI's protocol over HTTP, and fails as it is told to.

It logs every request that it gets: what was asked, how it was answered, what it bills.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

#: What a stand-in says to a prompt, choice by choice.
Speaker = Callable[[dict[str, Any], int], str]
#: How a request is answered: "good", or one of the faults below.
Manner = Callable[[dict[str, Any], int], str]

#: Faults by name: whether the model had written its answer, and so bills for it.
FAULTS = {
    "rate-limited": False,  # 429 with Retry-After
    "overloaded": False,  # 503
    "unauthorised": False,  # 401
    "bad request": False,  # 400
    "no quota": False,  # 429 of the kind that never passes
    "malformed": True,  # a body that is no JSON
    "no choices": True,  # JSON that is no chat completion
    "empty": True,  # a choice without a text
    "filtered": True,  # a choice that a filter has stopped
    "unreadable": True,  # a chat completion that says something else than was asked for
    "late": True,  # a whole answer, after the patience of who asks
    "slow": True,  # a whole answer, in time
    "drip": True,  # byte after byte, each in time, all of them too late
    "cut off": True,  # half an answer, and the connection is closed
    "no usage": True,  # a whole answer that does not say what it costs
}
#: Faults that are an HTTP status: with a message and a code.
ERRORS = {
    "rate-limited": (429, "slow down", None),
    "no quota": (429, "pay first", "insufficient_quota"),
    "overloaded": (503, "come back later", None),
    "unauthorised": (401, "no such key", None),
    "bad request": (400, "the prompt is too long", None),
}
#: Faults whose answer is whole all the same.
WHOLE = ("good", "slow", "no usage")


@dataclass(frozen=True)
class Logged:
    """One request as the stand-in got it: `number` of those with the same body, from 0."""

    body: dict[str, Any]
    headers: dict[str, str]
    number: int
    manner: str
    texts: tuple[str, ...]
    prompt_tokens: int
    completion_tokens: int

    @property
    def question(self) -> str:
        """What was asked, by its hash."""
        return question_of(self.body)

    @property
    def bills(self) -> bool:
        return self.manner == "good" or FAULTS[self.manner]


def question_of(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body["messages"]).encode()).hexdigest()


def says(text: str) -> Speaker:
    return lambda body, choice: text


def always(manner: str) -> Manner:
    return lambda body, number: manner


def once(fault: str) -> Manner:
    """The first answer to each request fails."""
    return lambda body, number: "good" if number else fault


@dataclass
class StandIn:
    """A running endpoint. Change `speaker`, `manner` and the times at any moment."""

    speaker: Speaker = lambda body, choice: "hello"
    manner: Manner = lambda body, number: "good"
    patience: float = 0.4
    slowness: float = 0.02
    retry_after: str = "0"
    most_choices: int = 100
    url: str = ""
    log: list[Logged] = field(default_factory=list)
    most_at_once: int = 0
    _at_once: int = 0
    _seen: dict[str, int] = field(default_factory=dict)

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.post("/v1/chat/completions")
        async def complete(request: Request) -> Response:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            try:
                return await self._answer(await request.json(), dict(request.headers))
            finally:
                self._at_once -= 1

        return app

    async def _answer(self, body: dict[str, Any], headers: dict[str, str]) -> Response:
        identity = json.dumps(body, sort_keys=True)
        number = self._seen[identity] = self._seen.get(identity, -1) + 1
        manner = self.manner(body, number)
        wanted = min(body.get("n", 1), self.most_choices)
        texts = tuple(self.speaker(body, choice) for choice in range(wanted))
        if manner == "unreadable":
            texts = tuple("I would rather not say." for _ in texts)
        read = sum(1 + len(turn["content"].split()) for turn in body["messages"])
        written = sum(1 + len(text.split()) for text in texts)
        logged = Logged(body, headers, number, manner, texts, read, written)
        self.log.append(logged)
        completion = {
            "id": f"chatcmpl-{len(self.log)}",
            "object": "chat.completion",
            "created": 0,
            "model": body["model"],
            "choices": [
                {
                    "index": i,
                    "finish_reason": "stop",
                    "message": {"role": "assistant", "content": text},
                }
                for i, text in enumerate(texts)
            ],
            "usage": {
                "prompt_tokens": read,
                "completion_tokens": written,
                "total_tokens": read + written,
            },
        }
        return await self._in_manner(manner, completion)

    async def _in_manner(self, manner: str, completion: dict[str, Any]) -> Response:
        if manner in ERRORS:
            status, message, code = ERRORS[manner]
            headers = {"Retry-After": self.retry_after} if manner == "rate-limited" else None
            error = {"message": message, "type": "stand_in", "code": code}
            return JSONResponse({"error": error}, status, headers=headers)
        if manner == "malformed":
            return Response('{"choices": [{"message"', media_type="application/json")
        if manner in ("drip", "cut off"):
            pieces = self._pieces(manner, json.dumps(completion).encode())
            return StreamingResponse(pieces, media_type="application/json")
        await asyncio.sleep({"late": 2 * self.patience, "slow": self.slowness}.get(manner, 0))
        return JSONResponse(_spoilt(manner, completion))

    async def _pieces(self, manner: str, body: bytes) -> AsyncIterator[bytes]:
        if manner == "cut off":
            yield body[: len(body) // 2]
            raise ConnectionResetError
        for byte in body:
            yield bytes([byte])
            await asyncio.sleep(self.patience / 10)


def _spoilt(manner: str, completion: dict[str, Any]) -> dict[str, Any]:
    first = completion["choices"][0]
    if manner == "no choices":
        completion["choices"] = []
    if manner == "empty":
        first["message"]["content"] = None
    if manner == "filtered":
        first["finish_reason"] = "content_filter"
    if manner == "no usage":
        del completion["usage"]
    return completion


@contextmanager
def standing_in(stand_in: StandIn | None = None) -> Iterator[StandIn]:
    """A stand-in that listens on a port of this machine, in a thread, until the end."""
    stand_in = stand_in or StandIn()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        stand_in.url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        server = uvicorn.Server(
            uvicorn.Config(stand_in.app(), log_level="critical", lifespan="off")
        )
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        try:
            yield stand_in
        finally:
            server.should_exit = server.force_exit = True
            thread.join(10)


def drawn_manner(shares: dict[str, float], seed: int = 0) -> Manner:
    """Each answer fails with these probabilities, as its question and number decide."""

    def manner(body: dict[str, Any], number: int) -> str:
        said = f"{seed} {number} {body.get('seed')} {question_of(body)}"
        drawn = int.from_bytes(hashlib.sha256(said.encode()).digest()[:8]) / 2**64
        for name, share in shares.items():
            if drawn < share:
                return name
            drawn -= share
        return "good"

    return manner
