"""The registry: every method by its name."""

from __future__ import annotations

from palate.errors import SettingsError
from palate.methods.base import Margins, Method
from palate.methods.brf import BRF
from palate.methods.bt import BT
from palate.methods.lore import LoRe
from palate.methods.pal import PAL
from palate.methods.per_user import PerUser
from palate.methods.pref import PReF
from palate.methods.ref import Ref
from palate.methods.settings import MethodSettings, TrainingSettings
from palate.methods.vpl import VPL
from palate.methods.vrf import VRF

METHODS: dict[str, type[Method]] = {
    method.name: method for method in (Ref, BT, PerUser, VPL, PAL, LoRe, PReF, VRF, BRF)
}


def method_named(name: str) -> type[Method]:
    """The method of that name; raises `SettingsError` for an unknown one."""
    if name not in METHODS:
        raise SettingsError(f"unknown method {name!r}; expected one of {', '.join(METHODS)}")
    return METHODS[name]


__all__ = ["METHODS", "Margins", "Method", "MethodSettings", "TrainingSettings", "method_named"]
