"""What an endpoint answered: candidates and usage, or why it is no answer."""

from __future__ import annotations

from typing import Any

from pydantic_core import from_json

from palate.service.http.errors import ApiError
from palate.service.http.upstream.base import Answered, Candidate

TOKENS = ("prompt_tokens", "completion_tokens", "total_tokens")


def read_answer(raw: bytes, model: str) -> Answered:
    """The candidates of a chat completion; raises `ApiError` (502)."""
    try:
        content = from_json(raw)
        choices = content["choices"]
        if not isinstance(choices, list) or not choices:
            raise ValueError("it holds no choice")
        candidates = tuple(map(_candidate, choices))
    except (ValueError, KeyError, TypeError) as error:
        fault = type(error).__name__  # its message may hold what was written
        message = f"the upstream's answer is no chat completion ({fault})"
        raise ApiError(502, "upstream_invalid", message) from None
    name = content.get("model")
    return Answered(candidates, name if isinstance(name, str) else model, _usage(content))


def _candidate(choice: Any) -> Candidate:  # noqa: ANN401 - whatever was sent
    message = choice["message"]
    if not isinstance(message, dict):
        raise ValueError("a message is no object")
    content = message.get("content")
    if content is not None and not isinstance(content, str):
        raise ValueError("a message's content is no text")
    if content is None and not any(message.get(name) for name in ("tool_calls", "refusal")):
        raise ValueError("a message says nothing")
    reason = choice.get("finish_reason")
    logprobs = choice.get("logprobs")
    return Candidate(
        {**message, "role": "assistant"},
        reason if isinstance(reason, str) else "stop",
        logprobs if isinstance(logprobs, dict) else None,
    )


def _usage(content: dict[str, Any]) -> dict[str, int]:
    usage = content.get("usage")
    if not isinstance(usage, dict):
        return {}
    counts = {name: usage.get(name) for name in TOKENS}
    return {name: n for name, n in counts.items() if type(n) is int and n >= 0}
