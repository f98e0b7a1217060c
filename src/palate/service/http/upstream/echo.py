"""An upstream without a language model: the request's own `candidates`, or its last turn again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from palate.service.http.conversation import content_text
from palate.service.http.errors import invalid
from palate.service.http.upstream.base import Answered, Candidate


class Echo:
    """It lets the service start with nothing else, and choose among texts that are given."""

    name = "echo"

    async def ask(self, body: Mapping[str, Any], count: int, seconds: float) -> Answered:
        """The given candidates, all of them; without any, what the last turn says."""
        del seconds, count
        texts = body.get("candidates") or [_last(body["messages"])]
        candidates = tuple(Candidate({"role": "assistant", "content": text}) for text in texts)
        return Answered(candidates, str(body["model"]))

    async def close(self) -> None:
        """Nothing is open."""


def _last(messages: list[dict[str, Any]]) -> str:
    text = content_text(messages[-1])
    if not text:
        raise invalid("the last turn holds no text to echo; give `candidates`", "messages")
    return text
