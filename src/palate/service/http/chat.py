"""`/v1/chat/completions`, as OpenAI has it, whole or as a stream."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from palate.service.http import documented
from palate.service.http.auth import Reader
from palate.service.http.chat_schema import ChatRequest
from palate.service.http.completing import Completed, complete
from palate.service.http.errors import ApiError
from palate.service.http.service import Service, service_of
from palate.service.http.strict import StrictRoute
from palate.service.http.who import user_of

router = APIRouter(route_class=StrictRoute, tags=["chat"])
DEADLINE = "x-palate-deadline"
#: Characters of a piece of a stream.
PIECE = 48


@router.post(
    "/v1/chat/completions",
    summary="Answer a conversation as its user likes it",
    responses=documented.CHAT,
)
async def chat(request: Request, asked: ChatRequest, key: Reader) -> Response:
    """Ask the upstream for candidates, and return the one with the highest expected reward.

    `personalization` says how the choice was made, or why it was not (`reason`). `feedback` in it
    tells whether /v1/feedback may name this completion by its id. The header X-Palate-Deadline
    gives the seconds that the answer may take.
    """
    service = service_of(request)
    user = user_of(request, asked)
    done = await complete(service, key, user, asked, _deadline(service, request))
    headers = {"Server-Timing": done.timing}
    if asked.stream:
        usage = asked.stream_options is not None and bool(asked.stream_options.include_usage)
        pieces = _stream(done, usage)
        return StreamingResponse(pieces, 200, headers, media_type="text/event-stream")
    return JSONResponse(_whole(done), 200, headers)


def _deadline(service: Service, request: Request) -> float:
    """Seconds that the client allows, up to those of the service."""
    most, asked = service.settings.deadline, request.headers.get(DEADLINE)
    if asked is None:
        return most
    try:
        seconds = float(asked)
    except ValueError:
        seconds = math.nan
    if not seconds > 0:
        raise ApiError(400, "invalid_header", "X-Palate-Deadline is no number of seconds above 0")
    return min(seconds, most)


def _whole(done: Completed) -> dict[str, Any]:
    choices = [
        {
            "index": place,
            "message": dict(one.message),
            "finish_reason": one.finish_reason,
            "logprobs": one.logprobs,
        }
        for place, one in enumerate(done.choices)
    ]
    usage = {"usage": dict(done.usage)} if done.usage else {}
    own = {"personalization": done.personalization}
    return {**_head(done, "chat.completion"), "choices": choices, **usage, **own}


def _head(done: Completed, kind: str) -> dict[str, Any]:
    return {"id": done.id, "object": kind, "created": done.created, "model": done.model}


def _stream(done: Completed, usage: bool) -> Iterator[str]:
    """Server-sent events; the last choice's end carries `personalization`."""
    head = _head(done, "chat.completion.chunk")
    last = len(done.choices) - 1
    for place, one in enumerate(done.choices):
        for delta in _deltas(dict(one.message)):
            choice = {"index": place, "delta": delta, "finish_reason": None}
            yield _event({**head, "choices": [choice]})
        end = {"index": place, "delta": {}, "finish_reason": one.finish_reason}
        own = {"personalization": done.personalization} if place == last else {}
        yield _event({**head, "choices": [end], **own})
    if usage:
        yield _event({**head, "choices": [], "usage": dict(done.usage) or None})
    yield "data: [DONE]\n\n"


def _deltas(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A message in pieces: who speaks, what is no text, and the text."""
    text = message.pop("content", None) or ""
    calls = message.get("tool_calls")
    if isinstance(calls, list):
        message["tool_calls"] = [
            {"index": i, **call} if isinstance(call, dict) else call for i, call in enumerate(calls)
        ]
    yield {**message, "content": ""}
    for start in range(0, len(text), PIECE):
        yield {"content": text[start : start + PIECE]}


def _event(content: dict[str, Any]) -> str:
    return f"data: {json.dumps(content)}\n\n"
