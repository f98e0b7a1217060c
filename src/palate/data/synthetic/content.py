"""Reads the subjects, voices and registers that the responses are written from."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

IMPERATIVE = "do: "


@dataclass(frozen=True)
class Point:
    """One plain sentence of advice or fact, with its capital and its full stop."""

    text: str
    imperative: bool


@dataclass(frozen=True)
class Subject:
    """What one prompt is about, and the plain material of its answers."""

    slug: str
    topic: str
    prompts: tuple[str, ...]
    points: tuple[Point, ...]
    shorts: tuple[Point, ...]
    questions: tuple[str, ...]
    jokes: tuple[str, ...]


@dataclass(frozen=True)
class Voice:
    """How a direction of an attribute sounds; the fields are explained in voices.toml."""

    opens: tuple[str, ...] = ()
    asides: tuple[str, ...] = ()
    closes: tuple[str, ...] = ()
    says: tuple[str, ...] = ()
    facts: tuple[str, ...] = ()
    tips: tuple[str, ...] = ()
    leads: tuple[str, ...] = ()

    def frames(self, point: Point) -> tuple[str, ...]:
        """The frames that fit around this point."""
        return self.says + (self.tips if point.imperative else self.facts)


@dataclass(frozen=True)
class Content:
    """Everything that is read from the packaged files."""

    subjects: tuple[Subject, ...]
    voices: Mapping[str, Voice]
    contractions: tuple[tuple[str, str], ...]
    formal: tuple[tuple[str, str], ...]
    informal: tuple[tuple[str, str], ...]
    proper: frozenset[str]


@cache
def load_content() -> Content:
    """The packaged content, read once; subjects in the order of their slugs."""
    folder = resources.files(__package__) / "content"
    files = {item.name: tomllib.loads(item.read_text("utf-8")) for item in folder.iterdir()}
    tables = [t for name, file in files.items() if "subjects" in name for t in file["subject"]]
    registers = files["registers.toml"]
    return Content(
        subjects=tuple(sorted(map(_subject, tables), key=lambda subject: subject.slug)),
        voices={name: _voice(table) for name, table in files["voices.toml"].items()},
        contractions=_pairs(registers["contractions"]),
        formal=_pairs(registers["formal"]),
        informal=_pairs(registers["informal"]),
        proper=frozenset(registers["proper"]),
    )


def _subject(table: Mapping[str, Any]) -> Subject:
    return Subject(
        slug=table["slug"],
        topic=table["topic"],
        prompts=tuple(table["prompts"]),
        points=tuple(map(_point, table["points"])),
        shorts=tuple(map(_point, table["shorts"])),
        questions=tuple(table["questions"]),
        jokes=tuple(table["jokes"]),
    )


def _point(line: str) -> Point:
    text = line.removeprefix(IMPERATIVE)
    return Point(text[0].upper() + text[1:], line.startswith(IMPERATIVE))


def _voice(table: Mapping[str, list[str]]) -> Voice:
    return Voice(**{kind: tuple(phrases) for kind, phrases in table.items()})


def _pairs(rows: list[list[str]]) -> tuple[tuple[str, str], ...]:
    return tuple((left, right) for left, right in rows)
