"""The embedded language model, of the Attributes world, in a thread of its own."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from palate.alignment.policy import Request, Sampled
from palate.alignment.small import small_policy
from palate.errors import PolicyError
from palate.service.http.conversation import prompt_of
from palate.service.http.errors import ApiError, invalid, late
from palate.service.http.upstream.base import Answered, Candidate

#: Requests that may wait for it; beyond, a client is told to come later.
WAITING = 8
MOST_TOKENS = 256


class Small:
    """It is trained on first use, in minutes; `palate serve` does so before it takes requests."""

    name = "small"

    def __init__(self, cache: str | None) -> None:
        self._policy = small_policy(Path(cache) if cache else None)
        self._thread = ThreadPoolExecutor(1, "palate-small")
        self._under_way = 0

    async def ask(self, body: Mapping[str, Any], count: int, seconds: float) -> Answered:
        """`count` answers, sampled."""
        if self._under_way >= WAITING:
            raise ApiError(503, "busy", "the embedded model is busy; try again", retry_after=2.0)
        request = _request(body, count)
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self._thread, self._policy.sample, request)
        self._under_way += 1
        future.add_done_callback(self._ended)
        try:
            sampled = await asyncio.wait_for(asyncio.shield(future), seconds)
        except TimeoutError:
            raise late("the embedded model", seconds) from None
        except PolicyError as error:
            raise invalid(str(error), "messages") from None
        return _answered(sampled)

    def _ended(self, future: asyncio.Future[Sampled]) -> None:
        self._under_way -= 1
        if not future.cancelled():
            future.exception()  # whoever asked may have gone

    async def close(self) -> None:
        """End its thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def _request(body: Mapping[str, Any], count: int) -> Request:
    limit = body.get("max_completion_tokens") or body.get("max_tokens") or MOST_TOKENS
    seed = body.get("seed")
    temperature = body.get("temperature")
    prompt = prompt_of(body["messages"])
    if prompt is None:
        raise invalid("the embedded model reads texts alone", "messages")
    return Request(
        prompt,
        count=count,
        temperature=1.0 if temperature is None else temperature,
        max_tokens=min(limit, MOST_TOKENS),
        seed=secrets.randbits(31) if seed is None else abs(seed) % 2**31,
    )


def _answered(sampled: Sampled) -> Answered:
    usage = {
        "prompt_tokens": sampled.prompt_tokens,
        "completion_tokens": sampled.completion_tokens,
        "total_tokens": sampled.prompt_tokens + sampled.completion_tokens,
    }
    candidates = tuple(Candidate({"role": "assistant", "content": t}) for t in sampled.texts)
    return Answered(candidates, "small", usage)
