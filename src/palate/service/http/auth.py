"""Who asks: a bearer key with its scopes, its rate and its quota."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPBearer
from fastapi.security.http import HTTPAuthorizationCredentials

from palate.service.http.errors import ApiError
from palate.service.http.service import Service, service_of
from palate.service.store import ApiKey, Refused

BEARER = HTTPBearer(auto_error=False, description="A key of `palate keys create`.")
Bearer = Annotated[HTTPAuthorizationCredentials | None, Depends(BEARER)]
NO_KEY = "no API key; send the header Authorization: Bearer palate_..."


async def caller(request: Request, bearer: Bearer) -> ApiKey:
    """The key of a request, within its rate and quota; raises `ApiError` (401, 429)."""
    service = service_of(request)
    if bearer is None or not bearer.credentials.strip():
        raise ApiError(401, "no_key", NO_KEY)
    key = await _checked(service, bearer.credentials)
    request.scope["palate.key"] = key
    if (wait := service.store.rates.wait(key)) > 0:
        message = f"this key may ask {key.per_second:g} times a second; wait {wait:.2f} s"
        raise ApiError(429, "rate_limit_exceeded", message, retry_after=wait)
    if key.per_day is not None:
        wait = await service.in_thread(service.store.quotas.wait, key)
        if wait > 0:
            message = f"this key may ask {key.per_day} times a day, and has"
            raise ApiError(429, "quota_exceeded", message, retry_after=wait)
    return key


async def _checked(service: Service, text: str) -> ApiKey:
    known = service.keyring.known(text)
    if known is not None:
        return known
    try:
        return await service.in_thread(service.keyring.check, text)
    except Refused as error:
        raise ApiError(401, "invalid_key", str(error)) from None


def scope(name: str) -> Callable[[ApiKey], Awaitable[ApiKey]]:
    """A dependency: the caller's key, where it has a scope."""

    async def allowed(key: Annotated[ApiKey, Depends(caller)]) -> ApiKey:
        try:
            key.require(name)
        except Refused as error:
            raise ApiError(403, "scope_missing", str(error)) from None
        return key

    return allowed


Reader = Annotated[ApiKey, Depends(scope("read"))]
Writer = Annotated[ApiKey, Depends(scope("write"))]
Admin = Annotated[ApiKey, Depends(scope("admin"))]
