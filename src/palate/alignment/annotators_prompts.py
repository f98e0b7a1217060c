"""The prompts of an annotation, from a file: alone, or with a response that was given already."""

from __future__ import annotations

from pathlib import Path

from palate.alignment.annotators_pairs import Asked
from palate.data.benchmarks.record_files import reader_of, rows_of_file
from palate.data.benchmarks.rows import Row, parse_rows, require_columns
from palate.data.candidates import read_candidates
from palate.errors import DataError, Problem


def read_asked(path: Path) -> list[Asked]:
    """.txt one prompt a line, .json a list; .jsonl and .parquet rows of prompt and response.

    A response may be absent. Raises `DataError`.
    """
    if reader_of(path) is not None:
        rows = rows_of_file(path)
        require_columns(rows, ("prompt",))
        return parse_rows(rows, _asked)
    prompts = read_candidates(path)
    if not all(isinstance(prompt, str) for prompt in prompts):
        fault = "a prompt is a conversation; expected texts alone"
        raise DataError([Problem(str(path), None, None, fault)])
    return [Asked(str(prompt)) for prompt in prompts]


def _asked(row: Row) -> Asked:
    return Asked(row.text("prompt"), None if row.absent("response") else row.text("response"))
