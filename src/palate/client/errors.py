"""What the service answers where it cannot do what it was asked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from palate.errors import PalateError

#: Statuses after which the same request may succeed.
PASSING = (429, 502, 503, 504)


class ServiceError(PalateError):
    """status: of HTTP, 0 where nothing answered. code: for programs. retry_after: seconds."""

    def __init__(
        self, status: int, code: str, message: str, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry_after = retry_after

    @property
    def passes(self) -> bool:
        """Whether the same request may succeed later."""
        return self.status == 0 or self.status in PASSING


def error_of(status: int, headers: Mapping[str, str], content: Any) -> ServiceError:  # noqa: ANN401
    """The error that an answer tells; one that is not the service's own is told as it can be."""
    told = content.get("error") if isinstance(content, dict) else None
    if not isinstance(told, dict):
        told = {}
    message = str(told.get("message") or f"status {status}, and no reason; is it palate's address?")
    return ServiceError(status, str(told.get("code") or "unknown"), message, _seconds(headers))


def _seconds(headers: Mapping[str, str]) -> float | None:
    try:
        seconds = float(headers.get("retry-after", ""))
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None
