"""The errors of every route, as OpenAPI tells them."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel


class ErrorBody(BaseModel):
    """What went wrong."""

    message: str
    type: str
    code: str
    param: str | None = None


class Error(BaseModel):
    """The one shape of all errors."""

    error: ErrorBody


MEANINGS = {
    400: "The body or a header cannot be read, or the upstream refuses the request",
    401: "No key, or one that is not accepted",
    403: "The key lacks a scope",
    404: "There is no such thing",
    405: "The method is not served here",
    409: "It contradicts what is stored",
    413: "The request is too large",
    422: "A value that cannot be",
    429: "Too many requests; see Retry-After",
    502: "The upstream failed",
    503: "Not now; see Retry-After",
    504: "Not within the deadline",
}
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": Error, "description": meaning} for status, meaning in MEANINGS.items()
}
