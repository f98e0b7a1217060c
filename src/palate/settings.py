"""Settings from outside into frozen dataclasses; unknown keys and wrong types are refused."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeVar

from palate.errors import SettingsError

T = TypeVar("T")

#: The largest whole number that tensors hold.
LARGEST = 2**63 - 1


def build(cls: type[T], values: Mapping[str, Any]) -> T:
    """A settings object from names and values; raises `SettingsError` naming what is wrong."""
    from pydantic import TypeAdapter, ValidationError  # 0.1 s that `palate --help` need not pay

    known = [field.name for field in fields(cls)]  # type: ignore[arg-type]
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise SettingsError(
            f"unknown setting {', '.join(unknown)}; expected one of {', '.join(known)}"
        )
    try:
        built = TypeAdapter(cls).validate_python(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        name = first["loc"][0] if first["loc"] else "?"
        raise SettingsError(
            f"setting {name} is {first['input']!r}: {first['msg'].lower()}"
        ) from error
    for name, value in values.items():
        expected = _expected_instead(value, getattr(built, name))
        if expected is not None:
            raise SettingsError(f"setting {name} is {value!r}; expected {expected}")
    return built


def _expected_instead(value: object, built: object) -> str | None:
    """What was expected of a number that was built all the same; None if it is fine."""
    if isinstance(value, bool) and not isinstance(built, bool):
        return "a number"
    numbers = built if isinstance(built, tuple) else (built,)
    if not all(math.isfinite(number) for number in numbers if isinstance(number, float)):
        return "a finite number"
    if any(abs(number) > LARGEST for number in numbers if isinstance(number, int)):
        return f"at most {LARGEST}"
    return None


def parse_assignments(assignments: Sequence[str]) -> dict[str, Any]:
    """name=value pairs; a value is JSON where it can be (12, 0.1, true, null), else a text."""
    values: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals or not name.strip():
            raise SettingsError(f"{assignment!r} is no setting; expected name=value")
        try:
            values[name.strip()] = json.loads(value)
        except (ValueError, RecursionError):
            values[name.strip()] = None if value.lower() == "none" else value
    return values
