"""Bodies are JSON by the letter: no NaN, no half characters, nothing deeper than a stack."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic_core import from_json
from starlette.exceptions import HTTPException


class BadJsonError(HTTPException):
    """A body that is no JSON; of this kind so that FastAPI lets it through."""

    def __init__(self, reason: str) -> None:
        super().__init__(400, f"the body is no JSON: {reason}")


class StrictRequest(Request):
    """A request whose body is read once, strictly."""

    async def json(self) -> Any:  # noqa: ANN401
        """The body; raises `BadJsonError` where it is no JSON."""
        if not hasattr(self, "_json"):
            raw = await self.body()
            try:
                self._json = from_json(raw, allow_inf_nan=False)
            except ValueError as error:
                raise BadJsonError(str(error).splitlines()[0][:200]) from None
        return self._json


class StrictRoute(APIRoute):
    """A route that reads its body so."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, given a `StrictRequest`."""
        handle = super().get_route_handler()

        async def strict(request: Request) -> Response:
            own = StrictRequest(request.scope, request.receive)
            await own.body()  # here, where one that is too large is told as what it is
            return await handle(own)

        return strict
