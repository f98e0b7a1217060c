"""What OpenAPI tells of answers: the errors of every route, and examples of what succeeds."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel


class ErrorBody(BaseModel):
    """What went wrong."""

    message: str
    type: str
    code: str
    param: str | None = None


class Error(BaseModel):
    """The one shape of all errors."""

    error: ErrorBody


MEANINGS = {
    400: "The body or a header cannot be read, or the upstream refuses the request",
    401: "No key, or one that is not accepted",
    403: "The key lacks a scope",
    404: "There is no such thing",
    405: "The method is not served here",
    409: "It contradicts what is stored",
    413: "The request is too large",
    422: "A value that cannot be",
    429: "Too many requests; see Retry-After",
    502: "The upstream failed",
    503: "Not now; see Retry-After",
    504: "Not within the deadline",
}
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": Error, "description": meaning} for status, meaning in MEANINGS.items()
}


def answers(example: dict[str, Any], status: int = 200) -> dict[int | str, dict[str, Any]]:
    """An example of what succeeds."""
    content = {"application/json": {"example": example}}
    return {status: {"description": "What was asked for", "content": content}}


_BEST = {"reward": 0.7, "sd": 0.4, "p_best": 0.61}
_OTHER = {"reward": 0.2, "sd": 0.3, "p_best": 0.39}
_MODEL = "bd8cde3c1ba7d3060d47d5b96152243a"

CHAT = answers(
    {
        "id": "chatcmpl-1f0c",
        "object": "chat.completion",
        "created": 1795291427,
        "model": "any",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Short waves scatter more."},
                "finish_reason": "stop",
                "logprobs": None,
            }
        ],
        "personalization": {
            "personalized": True,
            "reason": None,
            **_BEST,
            "candidates": 2,
            "considered": [{"index": 0, **_BEST}, {"index": 1, **_OTHER}],
            "answers": 12,
            "model": _MODEL,
            "feedback": True,
        },
    }
)
RERANK = answers(
    {
        "id": "rerank-1f0c",
        "model": _MODEL,
        "results": [
            {
                "index": 0,
                "relevance_score": 0.67,
                "document": {"text": "Short waves scatter more."},
                **_BEST,
            }
        ],
    }
)
SCORE = answers(
    {
        "object": "list",
        "model": _MODEL,
        "answers": 12,
        "data": [
            {"index": 0, "object": "score", "score": 0.7, "sd": 0.4},
            {"index": 1, "object": "score", "score": 0.2, "sd": 0.3},
        ],
    }
)
FEEDBACK = answers(
    {
        "object": "feedback",
        "user": "alice",
        "answers": [13],
        "repeated": False,
        "posterior": {"answers": 13, "uncertainty": 0.31, "model": _MODEL},
    },
    201,
)
QUESTION = answers(
    {
        "object": "questions",
        "user": "alice",
        "model": _MODEL,
        "data": [
            {
                "index": 1,
                "prompt": "What is tea?",
                "response_a": "A drink.",
                "response_b": "A leaf, steeped.",
                "score": 0.12,
                "p_a": 0.48,
            }
        ],
        "change": 0.08,
        "settled": False,
    }
)
