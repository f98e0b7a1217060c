"""The registry: every method by its name."""

from __future__ import annotations

from palate.errors import SettingsError
from palate.methods.base import Margins, Method, TrainingSettings
from palate.methods.bt import BT
from palate.methods.vrf import VRF

METHODS: dict[str, type[Method]] = {"bt": BT, "vrf": VRF}


def method_named(name: str) -> type[Method]:
    """The method of that name; raises `SettingsError` for an unknown one."""
    if name not in METHODS:
        raise SettingsError(f"unknown method {name!r}; expected one of {', '.join(METHODS)}")
    return METHODS[name]


__all__ = ["METHODS", "Margins", "Method", "TrainingSettings", "method_named"]
