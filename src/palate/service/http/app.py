"""The application: routes, errors in one shape, and what is opened and closed with it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from palate.errors import PalateError
from palate.service.http import admin, chat, feedback, health, question, rerank, users
from palate.service.http.documented import ERRORS
from palate.service.http.edge import Edge
from palate.service.http.errors import ApiError, api_error
from palate.service.http.service import Service
from palate.service.http.settings import ServeSettings
from palate.service.http.strict import BadJsonError

ABOUT = """Personalisation in front of any language model: answers are chosen for each user, by a
reward model whose weights are a distribution that the user's own feedback makes narrower."""
ROUTERS = (chat, rerank, feedback, users, question, admin, health)


def from_environment() -> FastAPI:
    """The application of a worker that `palate serve` started."""
    settings = ServeSettings.of_environment(os.environ)
    return build(lambda: Service.open(settings))


def build(open_service: Callable[[], Service]) -> FastAPI:
    """An application whose service is opened when it starts."""

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        service = open_service()
        service.start()
        app.state.service = service
        service.log.info("started", model=service.serving.run.name, upstream=service.upstream.name)
        try:
            yield
        finally:
            await service.close()
            service.log.info("stopped")

    app = FastAPI(
        title="palate",
        description=ABOUT,
        version=version("palate"),
        lifespan=life,
        docs_url=None,
        redoc_url=None,
        responses=ERRORS,
        redirect_slashes=False,
    )
    for module in ROUTERS:
        app.include_router(module.router)
    app.add_middleware(Edge)
    app.add_exception_handler(PalateError, _palate_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http_error)
    return app


async def _palate_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, PalateError)
    answer = api_error(error)
    if answer.code == "internal":
        raise error  # the edge answers, and logs where it came from
    return answer.response()


async def _invalid(request: Request, error: Exception) -> Response:
    """The first fault of a request: where it is, and what was expected; never what was there."""
    assert isinstance(error, RequestValidationError)
    faults: list[dict[str, Any]] = list(error.errors())
    first = faults[0]
    place = [str(part) for part in first["loc"] if not str(part).startswith("function-")]
    field = ".".join(place[1:]) or place[0]
    field = field.encode(errors="replace").decode()[:200]
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    message = f"{field}: {first['msg'][:300]}{more}".encode(errors="replace").decode()
    return ApiError(422, str(first["type"]), message, param=field).response()


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if isinstance(error, BadJsonError):
        return ApiError(400, "invalid_json", str(error.detail)).response()
    status = HTTPStatus(error.status_code)
    code = status.phrase.lower().replace(" ", "_")
    here = f": {request.method} is not served here" if status in (404, 405) else ""
    response = ApiError(status, code, status.phrase + here).response()
    response.headers.update(error.headers or {})
    return response
