"""A report of runs: Markdown, LaTeX, one HTML page, figures and one JSON of every number."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from palate.bench.drawing import require_matplotlib, to_png, to_svg
from palate.bench.figures import Drawn, figures_of
from palate.bench.formats import latex, markdown
from palate.bench.page import page
from palate.bench.summary import Summary
from palate.bench.tables import absences, tables_of
from palate.files import OutputError, write_atomically


def write_report(summaries: Sequence[Summary], folder: Path) -> list[Path]:
    """Write every format; returns the files. Raises `OutputError` where the disk refuses."""
    require_matplotlib()
    drawn = [figures_of(summary.results) for summary in summaries]
    numbers = {summary.results.name: summary.to_json() for summary in summaries}
    texts = {
        "report.html": page(summaries, drawn),
        "report.md": _markdown(summaries, drawn),
        "report.tex": _latex(summaries),
        "report.json": json.dumps(numbers, indent=1, allow_nan=False) + "\n",
    }
    written = []
    for name, text in texts.items():
        write_atomically(folder / name, text)
        written.append(folder / name)
    for summary, figures in zip(summaries, drawn, strict=True):
        written += [path for one in figures for path in _write_figure(folder, summary, one)]
    return written


def _write_figure(folder: Path, summary: Summary, drawn: Drawn) -> list[Path]:
    name = _file_of(summary, drawn)
    svg = to_svg(drawn.figure, name).replace("currentColor", "#1b1f24")
    write_atomically(folder / f"{name}.svg", svg)
    path = folder / f"{name}.png"
    temporary = path.with_name(f".{path.name}")
    try:
        temporary.write_bytes(to_png(drawn.figure))
        os.replace(temporary, path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error}") from error
    return [folder / f"{name}.svg", path]


def _file_of(summary: Summary, drawn: Drawn) -> str:
    return f"figures/{summary.results.name}-{drawn.name}"


def _markdown(summaries: Sequence[Summary], drawn: Sequence[Sequence[Drawn]]) -> str:
    parts = ["# Benchmark\n"]
    for summary, figures in zip(summaries, drawn, strict=True):
        parts.append(f"## {summary.results.experiment['title']}\n")
        parts += [markdown(table) for table in tables_of(summary)] or [
            "\n".join(["Nothing is computed yet.", *(f"- {note}" for note in absences(summary))])
        ]
        parts += [f"![{one.caption}]({_file_of(summary, one)}.png)\n" for one in figures]
    return "\n".join(parts)


def _latex(summaries: Sequence[Summary]) -> str:
    parts = ["% \\usepackage{booktabs}\n"]
    for summary in summaries:
        for number, table in enumerate(tables_of(summary)):
            parts.append(latex(table, f"{summary.results.name}-{number}"))
    return "\n".join(parts)
