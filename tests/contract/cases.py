"""The cases of the contract: every method as it is trained here, and variants of them."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor

from palate.methods import METHODS
from palate.model import PersonalRewardModel

if TYPE_CHECKING:
    from tests.contract.conftest import Planted

#: Width of the planted worlds' features.
WIDTH = 8

#: Every method, and the variants that are other models: a name and settings.
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, {}) for name in METHODS},
    "pal-B": ("pal", {"variant": "B"}),
    "vrf-moments": ("vrf", {"estimation": "moments"}),
    "brf-moments": ("brf", {"estimation": "moments"}),
}
cases = pytest.mark.parametrize("case", CASES)


def settings_of(case: str, **others: Any) -> dict[str, Any]:
    """The case's settings, with those others that its method has."""
    name, own = CASES[case]
    known = {field.name for field in fields(METHODS[name].settings_class)}
    return {key: value for key, value in others.items() if key in known} | own


def width_of(case: str) -> int:
    """How wide the features of a case are."""
    return 1 if METHODS[CASES[case][0]].reads == "likelihood" else WIDTH


def table(case: str, world: Planted) -> Tensor:
    """What the case reads of a world."""
    if CASES[case][1].get("variant") == "B":
        return torch.cat([world.features, world.prompts])
    return world.features[:, : width_of(case)]


def trained(case: str, world: Planted, seed: int = 0, steps: int = 150) -> PersonalRewardModel:
    return PersonalRewardModel.train(
        world.data,
        method=CASES[case][0],
        features=table(case, world),
        seed=seed,
        settings=settings_of(case, steps=steps, weight_decay=1.0, ridge=10.0),
    )
