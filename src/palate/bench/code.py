"""What of this package computes a cell: its code is part of the cell's identity."""

from __future__ import annotations

import ast
import hashlib
import inspect
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import palate
from palate.methods import Method

SOURCE = Path(palate.__file__).parent
#: Where every cell's computation starts, beside its method.
ROOTS = ("tuning", "training", "reading", "data.splits", "evaluation.evaluate", "bench.measure")
#: And where that of a cell which trains its backbone does.
OF_BACKBONES = ("finetuning.learn",)


@cache
def code_fingerprint(method_class: type[Method], *, trains_backbone: bool = False) -> str:
    """Hash of all modules of this package that a cell of the method runs through.

    Comments, docstrings and layout do not count. A registry (`__init__`) is not followed: another
    method's code changes no cell of this one.
    """
    roots = (*ROOTS, *(OF_BACKBONES if trains_backbone else ()))
    modules = {SOURCE.joinpath(*name.split(".")).with_suffix(".py") for name in roots}
    modules |= {Path(inspect.getfile(cls)) for cls in method_class.__mro__ if _is_ours(cls)}
    todo, reached = list(modules), set(modules)
    while todo:
        new = set(_imports(todo.pop())) - reached
        reached |= new
        todo += new
    digest = hashlib.sha256()
    for path in sorted(reached):
        digest.update(_meaning(path).encode())
    return digest.hexdigest()[:16]


def _is_ours(cls: type) -> bool:
    module = cls.__module__
    return module.startswith("palate.") or issubclass(cls, Method)


def _path(module: str) -> Path | None:
    path = SOURCE.joinpath(*module.split(".")[1:]).with_suffix(".py")
    return path if path.is_file() else None


@cache
def _imports(path: Path) -> tuple[Path, ...]:
    """The files of this package that a file imports from, functions included."""
    return tuple(found for name in _names(_tree(path)) if (found := _path(name)) is not None)


def _names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("palate."))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("palate"):
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@cache
def _meaning(path: Path) -> str:
    tree = _tree(path)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:]
    return ast.dump(tree)


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))
