"""Candidate responses from a file or a pipe."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from palate.data.validation import FaultError, parse_text
from palate.errors import DataError, Problem
from palate.types import Text


def read_candidates(path: Path) -> list[Text]:
    """Responses in order: .txt one a line, .json a list, .jsonl a text or {"response"} a line.

    "-" reads lines from standard input. Empty lines are no candidates. Raises `DataError`.
    """
    name = "standard input" if str(path) == "-" else str(path)
    try:
        raw = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
        content = raw.decode("utf-8-sig")
    except OSError as error:
        raise DataError(
            [Problem(name, None, None, f"cannot be read ({error.strerror})")]
        ) from error
    except UnicodeDecodeError as error:
        message = f"not UTF-8 text (byte {error.start}); save the file as UTF-8"
        raise DataError([Problem(name, None, None, message)]) from error
    rows = _rows(name, path.suffix.lower(), content)
    problems, texts = [], []
    for number, value in rows:
        try:
            texts.append(parse_text(value))
        except FaultError as fault:
            problems.append(Problem(name, number, "response", str(fault)))
    if problems:
        raise DataError(problems)
    if not texts:
        raise DataError([Problem(name, None, None, "holds no candidate")])
    return texts


def _rows(name: str, kind: str, content: str) -> list[tuple[int, Any]]:
    """Numbered raw values."""
    if kind == ".json":
        values = _json(name, None, content)
        if not isinstance(values, list):
            raise DataError([Problem(name, None, None, "expected a list of responses")])
        return [(number, _response(value)) for number, value in enumerate(values, start=1)]
    lines = [(n, line) for n, line in enumerate(content.splitlines(), start=1) if line.strip()]
    if kind == ".jsonl":
        return [(number, _response(_json(name, number, line))) for number, line in lines]
    if kind not in (".txt", ""):
        message = f"unknown kind of file {kind!r}; expected .txt, .json or .jsonl"
        raise DataError([Problem(name, None, None, message)])
    return list(lines)


def _json(name: str, row: int | None, content: str) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DataError([Problem(name, row, None, f"not JSON: {error}")]) from error


def _response(value: Any) -> Any:
    """The response of a row; conversations are lists, so an object names it."""
    return value.get("response", value.get("text")) if isinstance(value, dict) else value
