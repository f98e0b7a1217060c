"""`/v1/admin/models`: which model serves, and from one to the next."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from palate.errors import PalateError
from palate.service.http.auth import Admin
from palate.service.http.errors import ApiError, invalid
from palate.service.http.service import Service, service_of
from palate.service.http.strict import StrictRoute
from palate.service.store import ApiKey, StoreUnavailable
from palate.service.store.tenants import DEFAULT

router = APIRouter(route_class=StrictRoute, tags=["admin"])


class ModelRequest(BaseModel):
    """A model beside the one that serves."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"model": "second"}]})

    model: Annotated[str, Field(min_length=1, max_length=255)]


@router.get("/v1/admin/models", summary="Which model serves")
async def status(request: Request, key: Admin) -> Response:
    """The model that serves, and how far a roll-over is in the worker that answers."""
    service = service_of(request)
    await _operator(service, key)
    return JSONResponse(service.switching.status())


@router.post("/v1/admin/models", summary="Roll over to another model", status_code=202)
async def begin(request: Request, asked: ModelRequest, key: Admin) -> Response:
    """Load a folder beside the run's, make all users' posteriors under it, then let it serve.

    Requests go on under the old model until then. All workers follow.
    """
    service = service_of(request)
    await _operator(service, key)
    try:
        await service.in_thread(service.switching.begin, asked.model)
    except (ApiError, StoreUnavailable):
        raise
    except PalateError as error:
        raise invalid(str(error), "model") from None
    return JSONResponse(service.switching.status(), 202)


async def _operator(service: Service, key: ApiKey) -> None:
    """A model serves all tenants: keys of the first tenant alone may change it."""
    tenant = await service.in_thread(service.store.tenants.ensure, DEFAULT)
    if key.tenant != tenant.id:
        raise ApiError(403, "not_operator", f"models are for admin keys of the tenant '{DEFAULT}'")
