"""Which failures of an endpoint pass, how long to wait for it, and when to give up."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TypeVar

from palate.errors import PolicyError

T = TypeVar("T")

#: Answers of a server that may be otherwise in a moment: timeouts, conflicts, too many requests.
PASSING = (408, 409, 425, 429)
#: Answers that all requests would get: no valid key, no such model or address.
LASTING = (401, 404)
#: Seconds of the first wait and of the longest, where the endpoint names none.
FIRST_WAIT, LONGEST_WAIT = 0.5, 20.0


class PassingError(Exception):
    """A failure that may pass; `wait` is how long the endpoint asks to be left alone, seconds."""

    def __init__(self, message: str, wait: float | None = None) -> None:
        super().__init__(message)
        self.wait = wait


class RefusedError(PolicyError):
    """An endpoint that refuses every request: it is no use to go on."""


def retried(once: Callable[[float], T], *, tries: int, deadline: float, name: str) -> T:
    """What `once` gives, tried again while it fails in passing; it is told the seconds left.

    Waits grow by jittered doubling, and are as long as the endpoint asks for. Raises `PolicyError`
    after so many tries, or where the deadline in seconds would pass.
    """
    from tenacity import RetryCallState, Retrying, retry_if_exception_type
    from tenacity.stop import stop_after_attempt, stop_before_delay

    started = time.monotonic()

    def give_up(state: RetryCallState) -> T:
        reason = state.outcome.exception() if state.outcome else None
        early = state.attempt_number < tries
        asked = f" (the next would have come {state.upcoming_sleep:.0f} s later)" if early else ""
        raise PolicyError(
            f"{name} gave no answer in {state.attempt_number} of {tries} tries within "
            f"{deadline:g} s{asked}. The last: {reason}"
        ) from reason

    retrying = Retrying(
        stop=stop_after_attempt(tries) | stop_before_delay(deadline),
        wait=_wait,
        retry=retry_if_exception_type(PassingError),
        retry_error_callback=give_up,
    )
    return retrying(lambda: once(max(0.0, deadline - (time.monotonic() - started))))


def _wait(state: object) -> float:
    """Seconds until the next try; the jitter keeps many that failed together apart."""
    outcome, number = state.outcome, state.attempt_number  # type: ignore[attr-defined]
    asked = getattr(outcome.exception(), "wait", None)
    if asked is not None:
        return float(asked) + random.uniform(0, FIRST_WAIT)
    return random.uniform(0.5, 1) * min(LONGEST_WAIT, float(FIRST_WAIT * 2 ** (number - 1)))


def retry_after(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Seconds that a server asks to wait: `retry-after-ms`, or `Retry-After` in either form."""
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, "")) * unit
        except ValueError:
            continue
        if seconds >= 0:  # neither below zero nor NaN
            return seconds
    try:
        date = parsedate_to_datetime(headers.get("retry-after", ""))
    except (TypeError, ValueError):
        return None
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(0.0, date.timestamp() - (time.time() if now is None else now))
