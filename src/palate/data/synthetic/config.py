"""The settings of the Attributes world."""

import math
from dataclasses import dataclass

from palate.data.synthetic.users import KINDS


@dataclass(frozen=True)
class AttributesConfig:
    """What to generate; the same config gives the same world in any process.

    users        at least 84, so that every pair of traits has one
    comparisons  per user
    pairs        of contrasting responses per prompt
    scale        of the true reward in Bradley-Terry; math.inf makes every answer the better one
    seed         of the one generator
    """

    users: int = 840
    comparisons: int = 100
    pairs: int = 40
    scale: float = 1.5
    seed: int = 0

    def __post_init__(self) -> None:
        _require_whole("users", self.users, KINDS)
        _require_whole("comparisons", self.comparisons, 1)
        _require_whole("pairs", self.pairs, 1, 50)
        _require_whole("seed", self.seed, 0)
        if not self.scale > 0:
            raise ValueError(f"scale is {self.scale}, expected a positive number or math.inf")


def _require_whole(name: str, value: int, least: int, most: float = math.inf) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        limit = f"of at least {least}" if math.isinf(most) else f"from {least} to {most}"
        raise ValueError(f"{name} is {value!r}, expected a whole number {limit}")
