"""`/healthz`, `/readyz` and `/metrics`, for whoever watches the service; no key, no user's data."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from palate.errors import StoreError
from palate.service.http.errors import ApiError
from palate.service.http.service import service_of

router = APIRouter(tags=["health"])


@router.get("/healthz", summary="Whether the process lives")
async def healthz() -> Response:
    """Always 200 while it answers at all."""
    return JSONResponse({"status": "ok"})


@router.get("/readyz", summary="Whether requests can be served")
async def readyz(request: Request) -> Response:
    """503 while the model is loaded or the database does not answer."""
    service = service_of(request)
    try:
        await service.in_thread(service.store.check, seconds=min(6.0, service.settings.deadline))
    except (StoreError, ApiError):
        message = "the database does not answer, or has other tables"
        raise ApiError(503, "store_unavailable", message, retry_after=1.0) from None
    return JSONResponse({"status": "ready", "model": service.serving.model.identity})


@router.get("/metrics", summary="Counts and times, for Prometheus")
async def metrics(request: Request) -> Response:
    """In Prometheus's text format, of all workers."""
    service = service_of(request)
    text = await service.in_thread(service.metrics.text)
    return Response(text, media_type="text/plain; version=0.0.4")
