"""Every method described from its own class: abilities, settings, what they mean."""

from __future__ import annotations

import inspect
import re
from dataclasses import MISSING, Field, fields
from typing import Any

from palate.methods import Method, MethodSettings


def describe_method(method_class: type[Method]) -> dict[str, Any]:
    """A method as one object: name, paper, description, abilities, settings."""
    settings_class = method_class.settings_class
    return {
        "name": method_class.name,
        "paper": method_class.paper,
        "description": inspect.cleandoc(method_class.__doc__ or ""),
        "can": {
            "personal": method_class.personal,
            "gives_uncertainty": method_class.gives_uncertainty,
            "reads_prompts": settings_class().reads_prompts,
            "reads_likelihood": method_class.reads == "likelihood",
            "trainable": _is_trained(method_class),
        },
        "settings": describe_settings(settings_class),
    }


def describe_settings(settings_class: type[MethodSettings]) -> list[dict[str, Any]]:
    """Name, type, default and meaning of each setting, and the values that tuning tries."""
    meanings = meanings_of(settings_class)
    tried = settings_class.search_space()
    return [
        {
            "name": field.name,
            "type": _type(field),
            "default": _default(field),
            "tried": list(tried.get(field.name, ())),
            "meaning": meanings.get(field.name, ""),
        }
        for field in fields(settings_class)
    ]


def meanings_of(settings_class: type[MethodSettings]) -> dict[str, str]:
    """What the docstrings of the class and of those it extends say of each setting.

    A docstring explains settings as "name: meaning" or "one, other: meaning"; a meaning goes on up
    to the next setting's name or the end of its paragraph.
    """
    meanings: dict[str, str] = {}
    for cls in reversed(settings_class.__mro__):
        if issubclass(cls, MethodSettings) and "__doc__" in vars(cls) and cls.__doc__:
            meanings |= _explained(inspect.cleandoc(cls.__doc__), [f.name for f in fields(cls)])
    return meanings


def _explained(text: str, names: list[str]) -> dict[str, str]:
    name = "|".join(map(re.escape, names)) or "(?!)"
    start = re.compile(rf"(?:^|(?<=[.;]\s))((?:{name})(?:(?:, | and )(?:{name}))*): ", re.MULTILINE)
    found: dict[str, str] = {}
    marks = list(start.finditer(text))
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    for mark, end in zip(marks, ends[: len(marks)], strict=True):
        meaning = text[mark.end() : end].split("\n\n", maxsplit=1)[0]
        for one in re.split(r", | and ", mark.group(1)):
            found[one] = " ".join(meaning.split()).rstrip(";")
    return found


def _is_trained(method_class: type[Method]) -> bool:
    """Whether the training loop has something to do with the default settings."""
    width = 1 if method_class.reads == "likelihood" else 8
    method = method_class(method_class.settings_class().candidates()[0], width)
    return bool(method.trainable)


def _type(field: Field[Any]) -> str:
    return str(field.type)


def _default(field: Field[Any]) -> object:
    value = field.default
    if value is MISSING:
        value = field.default_factory() if field.default_factory is not MISSING else None
    return list(value) if isinstance(value, tuple) else value
