"""What both clients share: headers, and what follows from an answer or from none."""

from __future__ import annotations

import random
from typing import Any

import httpx2

from palate.client.calls import Call
from palate.client.errors import ServiceError, error_of

#: Sendings of one request, and the longest wait between two, in seconds.
TRIES, LONGEST = 4, 10.0


def options(url: str, key: str, timeout: float) -> dict[str, Any]:
    """How a client of httpx2 is made."""
    headers = {"Authorization": f"Bearer {key}"}
    return {"base_url": url.rstrip("/"), "headers": headers, "timeout": timeout}


def parts(call: Call) -> dict[str, Any]:
    """What is given to `request`."""
    given: dict[str, Any] = {"method": call.method, "url": call.path}
    if call.body is not None:
        given["json"] = dict(call.body)
    if call.query:
        given["params"] = dict(call.query)
    return given


def content_of(response: httpx2.Response) -> dict[str, Any]:
    """The answer's object; raises `ServiceError`."""
    try:
        content = response.json()
    except ValueError:
        content = None
    if not response.is_success or not isinstance(content, dict):
        raise error_of(response.status_code, response.headers, content)
    return content


def unreachable(error: httpx2.HTTPError) -> ServiceError:
    """What follows where nothing answered."""
    return ServiceError(0, "unreachable", f"the service does not answer ({type(error).__name__})")


def wait(error: ServiceError, tried: int) -> float | None:
    """Seconds until a next try; None where it is of no use. Requests here may be sent twice."""
    if tried >= TRIES or not error.passes:
        return None
    grown: float = 0.2 * 2**tried
    asked = grown if error.retry_after is None else error.retry_after
    return None if asked > LONGEST else asked + random.uniform(0, 0.1)
