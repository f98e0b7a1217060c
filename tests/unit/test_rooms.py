"""A room imports only from rooms above it, and only where the house allows heavy libraries."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import palate

SOURCE = Path(palate.__file__).parent

#: Rooms from the top: each imports from those above it and from its own. `palate` itself, the
#: package's door, names what its users import.
ROOMS = [
    ["errors", "types", "maths", "progress", "settings", "files"],
    ["data"],
    ["features"],
    ["methods"],
    ["reading", "training", "tuning", "finetuning"],
    ["adaptation"],
    ["questions"],
    ["evaluation"],
    ["honesty"],
    ["keys", "storage", "card", "predictive", "ranking", "model"],
    ["alignment"],
    ["scale"],
    ["service"],
    ["client"],
    ["bench"],
    ["cli"],
]
FLOOR = {room: number for number, rooms in enumerate(ROOMS) for room in rooms}
#: Libraries that some rooms alone may import.
OF_SOME_ROOMS = {
    "transformers": {"features", "alignment"},
    "huggingface_hub": {"features"},
    "sqlite3": {"features", "alignment"},
    "accelerate": {"finetuning"},
    "peft": {"features"},
    "openai": {"alignment", "service"},
    "ray": {"scale"},
    "fastapi": {"service"},
    "starlette": {"service"},
    "sqlalchemy": {"service"},
    "alembic": {"service"},
    "typer": {"cli"},
    "click": {"cli"},
}

FILES = sorted(path for path in SOURCE.rglob("*.py") if path != SOURCE / "__init__.py")


def room_of(module: str) -> str:
    return module.split(".")[1]


def module_of(path: Path) -> str:
    parts = ("palate", *path.relative_to(SOURCE).with_suffix("").parts)
    return ".".join(parts).removesuffix(".__init__")


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """Every import in a file, those inside of functions and for type checkers too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: write the whole name of the module"
            assert node.module is not None
            if node.module == "palate":
                yield from ((node.lineno, f"palate.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, node.module


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_a_room_imports_only_from_rooms_above_it(path: Path) -> None:
    room = room_of(module_of(path))
    for line, module in imported(path):
        if module.startswith("palate."):
            other = room_of(module)
            assert FLOOR[other] <= FLOOR[room], f"{path}:{line}: {room} imports {other}"


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_a_library_of_some_rooms_is_imported_there_alone(path: Path) -> None:
    room = room_of(module_of(path))
    for line, module in imported(path):
        may = OF_SOME_ROOMS.get(module.split(".")[0], {room})
        assert room in may, f"{path}:{line}: {room} imports {module}; {sorted(may)} may"


def test_every_room_has_its_place() -> None:
    assert {room_of(module_of(path)) for path in FILES} <= set(FLOOR)


def test_data_does_not_import_what_writes_the_attributes_world() -> None:
    for path in FILES:
        module = module_of(path)
        if room_of(module) == "data" and "synthetic" not in module:
            assert not any("synthetic" in name for _, name in imported(path)), module


def test_files_without_a_room_are_found(tmp_path: Path) -> None:
    """The reader of imports sees all ways of writing one."""
    path = tmp_path / "a.py"
    path.write_text(
        "import os, palate.data.pairs\nfrom palate import files\n"
        "def f():\n    from palate.cli.app import app\n"
    )
    names = [name for _, name in imported(path)]
    assert sorted(names) == ["os", "palate.cli.app", "palate.data.pairs", "palate.files"]
