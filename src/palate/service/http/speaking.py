"""Logs for machines, one JSON object a line on standard error: never a text, never a user's id."""

from __future__ import annotations

import sys
import traceback
from typing import Any

import structlog


def logger() -> Any:  # noqa: ANN401 - structlog's
    """A logger of events with their fields."""
    return structlog.wrap_logger(
        structlog.WriteLogger(_StandardError()),  # type: ignore[arg-type]
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(ensure_ascii=True),
        ],
    )


class _StandardError:
    """Whatever standard error is when a line is written."""

    def write(self, line: str) -> None:
        sys.stderr.write(line)

    def flush(self) -> None:
        sys.stderr.flush()


def where(error: BaseException) -> dict[str, Any]:
    """An error's kind and where it came from; its message may hold a text, and stays out."""
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
    return {"error": type(error).__name__, "trace": places[-12:]}
