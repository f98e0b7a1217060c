"""The report as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib.resources import files
from typing import Any

from palate.bench.drawing import to_svg
from palate.bench.figures import Drawn
from palate.bench.summary import Summary
from palate.bench.tables import Table, Text, absences, tables_of


def page(summaries: Sequence[Summary], drawn: Sequence[Sequence[Drawn]]) -> str:
    """Every experiment as a section; figures inline, nothing fetched."""
    style = files("palate.bench").joinpath("page.css").read_text(encoding="utf-8")
    sections = [_section(s, figures) for s, figures in zip(summaries, drawn, strict=True)]
    links = [
        f'<li><a href="#{_anchor(s)}">{escape(s.results.experiment["title"])}</a></li>'
        for s in summaries
    ]
    contents = f"<nav><ul>{''.join(links)}</ul></nav>" if len(summaries) > 1 else ""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>palate: benchmark</title><style>{style}</style></head><body><main>"
        f"<header><h1>Benchmark</h1>{contents}</header>{''.join(sections)}</main></body></html>\n"
    )


def _anchor(summary: Summary) -> str:
    return escape(summary.results.name, quote=True)


def _section(summary: Summary, drawn: Sequence[Drawn]) -> str:
    experiment = summary.results.experiment
    tables = tables_of(summary)
    parts = [
        f'<section id="{_anchor(summary)}"><h2>{escape(experiment["title"])}</h2>',
        f'<p class="facts">{escape(_facts(summary))}</p>',
        *(_table(table) for table in tables if not table.long),
        '<div class="figures">',
        *(_figure(summary, figure) for figure in drawn),
        "</div>",
        *(_folded(table) for table in tables if table.long),
    ]
    if not tables:
        parts.append(_notes(["Nothing is computed yet.", *absences(summary)]))
    return "".join([*parts, "</section>"])


def _facts(summary: Summary) -> str:
    """Data, split, backbone and seeds in one line."""
    experiment, results = summary.results.experiment, summary.results
    split = experiment["split"]["kind"]
    held_out = {"users": "users and texts", "groups": "users and groups"}.get(split, "as its paper")
    facts: list[Any] = [
        f"data {experiment['data']['source'] or experiment['data']['name']}",
        f"held out: {held_out}",
        f"backbone {experiment['backbone']}",
        f"seeds {', '.join(map(str, results.seeds)) or 'none yet'}",
    ]
    if results.seeds:
        counts = results.done[0].cells[results.seeds[0]]["split"]
        facts.append(f"{counts['seen_users']:,} seen, {counts['unseen_users']:,} unseen users")
    return " \N{MIDDLE DOT} ".join(facts)


def _table(table: Table) -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in table.columns)
    rows = "".join(_row(row) for row in table.rows)
    return (
        f'<h3>{escape(table.title)}</h3><div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>{_notes(table.notes)}"
    )


def _row(row: Sequence[Text]) -> str:
    name, *cells = row
    return f'<tr><th scope="row">{escape(name.text)}</th>{"".join(map(_cell, cells))}</tr>'


def _cell(cell: Text) -> str:
    mark = ' class="best"' if cell.best else ' class="tied"' if cell.tied else ""
    return f"<td{mark}>{escape(cell.text)}</td>"


def _notes(notes: Sequence[str]) -> str:
    return f'<ul class="notes">{"".join(f"<li>{escape(note)}</li>" for note in notes)}</ul>'


def _folded(table: Table) -> str:
    return f"<details><summary>{escape(table.title)}</summary>{_table(table)}</details>"


def _figure(summary: Summary, drawn: Drawn) -> str:
    svg = to_svg(drawn.figure, f"{summary.results.name}-{drawn.name}")
    caption = escape(drawn.caption)
    svg = svg.replace("<svg", f'<svg role="img" aria-label="{escape(drawn.caption)}"', 1)
    return f"<figure>{svg}<figcaption>{caption}</figcaption></figure>"
