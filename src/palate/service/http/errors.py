"""One shape for every error: OpenAI's, with a status that says whose turn it is."""

from __future__ import annotations

import math
from http import HTTPStatus
from typing import Any

from fastapi.responses import JSONResponse

from palate.errors import CannotRunError, DataError, PalateError, SettingsError
from palate.service.store import (
    Conflict,
    InvalidEntry,
    NotFound,
    QuotaReached,
    Refused,
    StoreUnavailable,
)

#: OpenAI's kinds of error by status.
KINDS = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    429: "rate_limit_error",
    502: "upstream_error",
    503: "unavailable_error",
    504: "timeout_error",
}


class ApiError(PalateError):
    """An answer that is no success.

    code: what a program reads. param: which field is at fault. retry_after: seconds to wait.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        param: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.param = param
        self.retry_after = retry_after

    @property
    def kind(self) -> str:
        """OpenAI's `type`."""
        default = "invalid_request_error" if self.status < 500 else "internal_error"
        return KINDS.get(self.status, default)

    @property
    def content(self) -> dict[str, Any]:
        """The body."""
        error = {"message": str(self), "type": self.kind, "code": self.code, "param": self.param}
        return {"error": error}

    def response(self) -> JSONResponse:
        """The answer itself."""
        headers = {}
        if self.retry_after is not None:
            headers["Retry-After"] = str(max(1, math.ceil(self.retry_after)))
        if self.status == HTTPStatus.UNAUTHORIZED:
            headers["WWW-Authenticate"] = "Bearer"
        return JSONResponse(self.content, self.status, headers)


def invalid(message: str, param: str | None = None, code: str = "invalid_value") -> ApiError:
    """What a request asks that cannot be."""
    return ApiError(422, code, message, param=param)


def late(what: str, seconds: float, advice: str = "try again later") -> ApiError:
    """What did not come in time."""
    return ApiError(504, "deadline", f"{what} took longer than {seconds:.3g} s; {advice}")


def api_error(error: PalateError) -> ApiError:
    """What the rest of palate raises, as an answer."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, StoreUnavailable):
        return ApiError(503, "store_unavailable", DATABASE, retry_after=error.retry_after)
    for kind, status, code in ANSWERS:
        if isinstance(error, kind):
            return ApiError(status, code, str(error))
    return ApiError(500, "internal", f"the service failed ({type(error).__name__}); its log says")


DATABASE = "the database does not answer, and nothing was changed that was not told; try again"
ANSWERS: tuple[tuple[type[PalateError], int, str], ...] = (
    (Refused, 403, "refused"),
    (NotFound, 404, "not_found"),
    (Conflict, 409, "conflict"),
    (QuotaReached, 429, "quota_reached"),
    (InvalidEntry, 422, "invalid_value"),
    (DataError, 422, "invalid_value"),
    (SettingsError, 422, "invalid_value"),
    (CannotRunError, 422, "cannot_run"),
)
