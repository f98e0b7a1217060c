"""An OpenAI-compatible endpoint: whole answers within a time and a size, or a clear error."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx2

from palate.alignment.endpoint_retry import retry_after
from palate.errors import SettingsError
from palate.service.http.errors import ApiError, invalid, late
from palate.service.http.upstream.base import Answered
from palate.service.http.upstream.reply import read_answer

#: Bytes of an answer that are read at most.
LONGEST = 16 * 2**20
#: Connections at once; seconds to make one.
CONNECTIONS, CONNECTING = 256, 5.0
#: Refusals that a request for one answer may not meet: many servers give one at a time.
NOT_SO_MANY = (400, 422)


class Remote:
    """Nothing of a user goes there but what the body says, in which names are pseudonyms."""

    def __init__(self, url: str, key: str | None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
            raise SettingsError(
                f"the upstream is {url!r}; expected echo, small, or a URL such as "
                "http://127.0.0.1:8000/v1, without a key in it"
            )
        self.name = parts.hostname
        self._url = url.rstrip("/") + "/chat/completions"
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = httpx2.AsyncClient(
            headers={**headers, "Content-Type": "application/json"},
            timeout=httpx2.Timeout(None, connect=CONNECTING),
            limits=httpx2.Limits(
                max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS
            ),
        )

    async def ask(self, body: Mapping[str, Any], count: int, seconds: float) -> Answered:
        """Up to `count` candidates, in as many requests as the endpoint needs."""
        end = asyncio.get_running_loop().time() + seconds
        try:
            async with asyncio.timeout_at(end):
                first = await self._first(body, count)
        except TimeoutError:
            raise late("the upstream", seconds) from None
        missing = count - len(first.candidates)
        if missing <= 0:
            return first
        more = [asyncio.create_task(self._send(body, 1)) for _ in range(missing)]
        left = end - asyncio.get_running_loop().time()
        try:
            return await _with_more(first, more, left)
        finally:
            for task in more:
                task.cancel()

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _first(self, body: Mapping[str, Any], count: int) -> Answered:
        try:
            return await self._send(body, count)
        except ApiError as error:
            if count == 1 or error.status not in NOT_SO_MANY:
                raise
            return await self._send(body, 1)

    async def _send(self, body: Mapping[str, Any], count: int) -> Answered:
        try:
            content = json.dumps({**body, "n": count}, allow_nan=False).encode()
        except ValueError:
            raise invalid("the body holds a number that JSON cannot") from None
        try:
            async with self._client.stream("POST", self._url, content=content) as response:
                raw = await _read(response)
        except httpx2.HTTPError as error:
            kind = type(error).__name__
            raise ApiError(502, "upstream_failed", f"the upstream failed ({kind})") from None
        if response.status_code != 200:
            raise _refusal(response.status_code, response.headers, raw)
        return read_answer(raw, str(body["model"]))


async def _read(response: httpx2.Response) -> bytes:
    pieces, size = [], 0
    async for piece in response.aiter_bytes():
        pieces.append(piece)
        size += len(piece)
        if size > LONGEST:
            message = f"the upstream's answer is longer than {LONGEST:,} bytes"
            raise ApiError(502, "upstream_invalid", message)
    return b"".join(pieces)


async def _with_more(
    first: Answered, more: list[asyncio.Task[Answered]], seconds: float
) -> Answered:
    """The first answer with those that come in time; the others are let go."""
    done, _ = await asyncio.wait(more, timeout=max(0.0, seconds))
    came = [task.result() for task in more if task in done and task.exception() is None]
    parts = [first, *came]
    names = {name for part in parts for name in part.usage}
    usage = {name: sum(part.usage.get(name, 0) for part in parts) for name in sorted(names)}
    candidates = tuple(candidate for part in parts for candidate in part.candidates)
    return Answered(candidates, first.model, usage)


def _refusal(status: int, headers: Mapping[str, str], raw: bytes) -> ApiError:
    """What follows from a status that is no success."""
    if status == 429:
        wait = retry_after(headers)
        message = "the upstream has too many requests"
        return ApiError(429, "upstream_rate_limited", message, retry_after=wait or 1.0)
    if status in (*NOT_SO_MANY, 413):
        return ApiError(400, "upstream_refused", f"the upstream refuses: {_message(raw)}")
    if status == 404:
        return ApiError(404, "model_not_found", f"the upstream says: {_message(raw)}")
    message = f"the upstream failed with status {status}"
    return ApiError(502, "upstream_failed", message)


def _message(raw: bytes) -> str:
    """An error's message in OpenAI's shape, as the client may need it."""
    try:
        return str(json.loads(raw)["error"]["message"])[:500].encode(errors="replace").decode()
    except (ValueError, KeyError, TypeError, RecursionError):
        return "it gives no reason"
