"""Processes that listen on one port, and answer at once."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import uvicorn

if TYPE_CHECKING:
    from uvicorn.protocols.http.h11_impl import H11Protocol as Protocol
else:  # whichever is installed
    from uvicorn.protocols.http.auto import AutoHTTPProtocol as Protocol

#: Seconds that a connection without requests is kept, and that requests get when the service ends.
IDLE, GRACE = 30, 30


class PromptProtocol(Protocol):
    """Uvicorn's protocol, without Nagle's algorithm.

    An answer's head and body are sent apart, and the body must not wait 40 ms for the head's
    receipt. asyncio sees to it for sockets of its own alone, and not for those that workers share.
    """

    def connection_made(  # type: ignore[override]
        self, transport: asyncio.Transport
    ) -> None:
        """As a connection begins."""
        own = transport.get_extra_info("socket")
        if own is not None and own.family in (socket.AF_INET, socket.AF_INET6):
            own.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super().connection_made(transport)


def listen(host: str, port: int, workers: int) -> None:
    """Serve what the environment says, until a signal; workers that die are started again."""
    uvicorn.run(
        "palate.service.http.app:from_environment",
        factory=True,
        http=PromptProtocol,
        host=host,
        port=port,
        workers=workers,
        access_log=False,
        log_level="warning",
        server_header=False,
        timeout_keep_alive=IDLE,
        timeout_graceful_shutdown=GRACE,
    )
