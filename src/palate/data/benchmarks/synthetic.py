"""The Attributes world as a benchmark: PReF's, written by rules, with known truth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from palate.data.benchmarks.cards import DataCard
from palate.data.benchmarks.prepared import Benchmark, Prepared, finish, loaded
from palate.data.protocols import pref_split
from palate.data.synthetic import AttributesConfig, make_attributes_world
from palate.errors import SettingsError


@dataclass(frozen=True)
class AttributesOptions:
    """How large the world is, which one (`world` is its own seed), and how it is divided.

    protocol: "texts" as any data is divided, "pref" PReF's four parts.
    """

    users: int = 840
    comparisons: int = 100
    pairs: int = 40
    scale: float = 1.5
    world: int = 0
    protocol: Literal["texts", "pref"] = "texts"


def load(source: str | Path | None, seed: int, options: AttributesOptions) -> Prepared:
    """Write the world. The seed divides it only, so that one feature table serves all seeds."""
    if source is not None:
        raise SettingsError("the Attributes world is made here and has no source; leave it out")
    try:
        config = AttributesConfig(
            users=options.users,
            comparisons=options.comparisons,
            pairs=options.pairs,
            scale=options.scale,
            seed=options.world,
        )
        world = make_attributes_world(config)
    except ValueError as error:
        raise SettingsError(str(error)) from error
    data = loaded(f"attributes, world {options.world}", world.rows)
    card = DataCard(
        name="attributes",
        title="The Attributes world",
        source=f"made by this version of palate, world {options.world}",
        licence="Apache-2.0, as palate",
        citation="after Shenfeld et al., Language Model Personalization via Reward Factorization, "
        "2025, arXiv:2503.06358",
        prepared=(
            "Responses are written by rules so that each expresses known directions of seven "
            "attributes; a user likes two of them, and answers by Bradley-Terry on the true "
            f"reward times {options.scale:g}. No language model takes part."
        ),
    )
    split = pref_split(data, seed) if options.protocol == "pref" else None
    return finish(card, data, split, options)


BENCHMARK = Benchmark("The Attributes world", AttributesOptions, load)
