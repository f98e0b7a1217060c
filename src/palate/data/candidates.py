"""Candidate responses from a file or a pipe, and the prompt that they respond to."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from palate.data.validation import FaultError, parse_text
from palate.errors import DataError, Problem
from palate.types import Text


def read_prompt(value: str, name: str = "--prompt") -> Text:
    """A prompt as a person gives it. Raises `DataError`."""
    try:
        return parse_text(value)
    except FaultError as fault:
        raise _fault(name, str(fault)) from fault


def read_candidates(path: Path) -> list[Text]:
    """Responses in order: .txt one a line, .json a list, .jsonl a text or {"response"} a line.

    "-" reads lines from standard input. Empty lines are no candidates. Raises `DataError`.
    """
    name = "standard input" if str(path) == "-" else str(path)
    kind = path.suffix.lower()
    if kind not in PARSERS:
        raise _fault(name, f"unknown kind of file {kind!r}; expected .txt, .json or .jsonl")
    problems, texts = [], []
    for number, value in _rows(name, kind, _read(name, path)):
        try:
            texts.append(PARSERS[kind](value))
        except FaultError as fault:
            problems.append(Problem(name, number, "response", str(fault)))
    if problems:
        raise DataError(problems)
    if not texts:
        raise _fault(name, "holds no candidate")
    return texts


def _read(name: str, path: Path) -> str:
    try:
        raw = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = error.object[: error.start].count(b"\n") + 1
        byte = error.object[error.start]
        message = f"not UTF-8 text (byte {byte:#04x}); save the file as UTF-8"
        raise _fault(name, message, row) from error
    except OSError as error:
        raise _fault(name, f"cannot be read ({error.strerror})") from error


def _rows(name: str, kind: str, content: str) -> list[tuple[int, Any]]:
    """Numbered raw values."""
    if kind != ".json":
        lines = io.StringIO(content, newline=None)
        return [(row, line.strip("\n")) for row, line in enumerate(lines, 1) if line.strip()]
    try:
        values = _json(content)
    except FaultError as fault:
        raise _fault(name, str(fault)) from fault
    if not isinstance(values, list):
        raise _fault(name, f"expected a list of responses, found {type(values).__name__}")
    return list(enumerate(values, 1))


def _fault(name: str, message: str, row: int | None = None) -> DataError:
    return DataError([Problem(name, row, None, message)])


def _json(content: str) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise FaultError(f"not JSON ({error})") from error


def _response(value: Any) -> Text:
    """The response of a row; conversations are lists, so an object names it."""
    return parse_text(
        value.get("response", value.get("text")) if isinstance(value, dict) else value
    )


PARSERS: dict[str, Callable[[Any], Text]] = {
    ".json": _response,
    ".jsonl": lambda line: _response(_json(line)),
    ".txt": parse_text,
    "": parse_text,
}
