"""One sending of a chat completion: the bytes of its answer, within a time and a size."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openai import OpenAI

#: Fields of the protocol; others are sent beside them.
PROTOCOL = ("model", "messages", "n", "temperature", "seed", "max_tokens", "max_completion_tokens")


def post(client: OpenAI, body: dict[str, Any], seconds: float, most: int) -> bytes:
    """The answer as it came. Raises `TimeoutError` where it is not whole in time, or too long.

    A timeout of HTTP is one between two bytes: a server that drips would never hit it, so the clock
    is read at every piece.
    """
    until = time.monotonic() + seconds
    known = {name: value for name, value in body.items() if name in PROTOCOL}
    more = {name: value for name, value in body.items() if name not in PROTOCOL}
    create: Any = client.chat.completions.with_streaming_response.create
    pieces: list[bytes] = []
    size = 0
    with create(**known, extra_body=more or None, timeout=max(seconds, 1e-3)) as response:
        for piece in response.iter_bytes():
            pieces.append(piece)
            size += len(piece)
            if time.monotonic() > until:
                raise TimeoutError(f"it was not whole after {seconds:.1f} s")
            if size > most:
                raise TimeoutError(f"it is longer than {most:,} bytes")
    return b"".join(pieces)
