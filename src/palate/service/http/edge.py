"""Around every request: its size, its number, its log line, its counts, and errors in one shape."""

from __future__ import annotations

import re
import secrets
import time
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from palate.errors import PalateError
from palate.service.http.errors import ApiError, api_error
from palate.service.http.service import Service
from palate.service.http.speaking import where

REQUEST_ID = re.compile(rb"[A-Za-z0-9_.-]{1,64}")


#: In the log and the counts, of a client that went away; nginx's number.
GONE = 499


class Edge:
    """The outermost part of the application."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request within the limits, and tell of it."""
        service = getattr(scope["app"].state, "service", None) if "app" in scope else None
        if scope["type"] != "http" or not isinstance(service, Service):
            await self.app(scope, receive, send)
            return
        request = _Request(scope, receive, send, service)
        self._under_way += 1
        service.metrics.under_way.inc()
        try:
            if self._under_way > service.settings.most_requests:
                raise ApiError(503, "busy", "too many requests at once; try again", retry_after=1.0)
            await request.served_by(self.app)
        except ClientDisconnect:
            request.gone()
        except Exception as error:
            await request.fail(error)
        finally:
            self._under_way -= 1
            service.metrics.under_way.dec()
            request.tell()


class _Request:
    """One request on its way."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, service: Service) -> None:
        self.scope, self._receive, self._send, self._service = scope, receive, send, service
        self._started = time.perf_counter()
        self._status = 0
        self._size = 0
        self._fault: dict[str, Any] = {}
        given = dict(scope["headers"]).get(b"x-request-id", b"")
        fits = REQUEST_ID.fullmatch(given)
        self.id = given.decode() if fits else secrets.token_hex(8)

    async def served_by(self, app: ASGIApp) -> None:
        length = dict(self.scope["headers"]).get(b"content-length", b"")
        if length.isdigit() and int(length) > self._service.settings.most_bytes:
            raise self._too_large()
        await app(self.scope, self._limited, self._noted)

    async def _limited(self) -> Message:
        message = await self._receive()
        self._size += len(message.get("body", b""))
        if self._size > self._service.settings.most_bytes:
            raise self._too_large()
        return message

    async def _noted(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            headers = [*message.get("headers", ()), (b"x-request-id", self.id.encode())]
            message = {**message, "headers": headers}
        await self._send(message)

    def _too_large(self) -> ApiError:
        most = self._service.settings.most_bytes
        return ApiError(413, "too_large", f"the request has more than {most:,} bytes")

    def gone(self) -> None:
        """The client went away before its request was whole: nobody is there to be answered."""
        self._status = self._status or GONE

    async def fail(self, error: Exception) -> None:
        """Answer for an error that nobody caught, and log where it came from."""
        if not isinstance(error, ApiError):
            self._fault = where(error)
        if self._status:  # a stream that broke: what was sent cannot be taken back
            return
        known = isinstance(error, PalateError)
        answer = api_error(error if known else PalateError())  # type: ignore[arg-type]
        await answer.response()(self.scope, self._receive, self._noted)

    def tell(self) -> None:
        """One line in the log, and counts by the route's template: no id of a user stands in it."""
        seconds = time.perf_counter() - self._started
        route = getattr(self.scope.get("route"), "path", "none")
        method = self.scope["method"] if route != "none" else "-"
        metrics, key = self._service.metrics, self.scope.get("palate.key")
        metrics.requests.labels(method, route, str(self._status)).inc()
        metrics.seconds.labels(method, route).observe(seconds)
        told = {"id": self.id, "method": method, "route": route, "status": self._status}
        told |= {"ms": round(1e3 * seconds, 2), "bytes": self._size, **self._fault}
        if key is not None:
            told |= {"key": key.public, "tenant": key.tenant}
        log = self._service.log
        (log.error if self._fault else log.info)("request", **told)
