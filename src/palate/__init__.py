"""palate: a reward model for every user, from a handful of preferences."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from palate.adaptation import UserProfile
    from palate.data import PreferenceData, SplitSettings
    from palate.errors import PalateError
    from palate.model import PersonalRewardModel
    from palate.types import Comparison, Message

#: Where each public name lives; imported when first asked for, since torch takes a second.
_HOMES = {
    "Comparison": "palate.types",
    "Message": "palate.types",
    "PalateError": "palate.errors",
    "PersonalRewardModel": "palate.model",
    "PreferenceData": "palate.data",
    "SplitSettings": "palate.data",
    "UserProfile": "palate.adaptation",
}

__all__ = [
    "Comparison",
    "Message",
    "PalateError",
    "PersonalRewardModel",
    "PreferenceData",
    "SplitSettings",
    "UserProfile",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'palate' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
