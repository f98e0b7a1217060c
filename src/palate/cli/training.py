"""`palate train`."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from palate.cli.output import (
    JsonOption,
    decimal,
    note,
    print_json,
    print_table,
    progress,
    warn_of_left_out,
)

#: The largest number that a generator takes.
MAX_SEED = 2**63 - 1


class SplitKind(StrEnum):
    """What is held out."""

    users = "users"
    groups = "groups"


def train(
    file: Annotated[Path, typer.Argument(help="Comparisons: Parquet, JSON Lines (.gz) or CSV.")],
    out: Annotated[Path, typer.Option(help="Folder for the model.")],
    method: Annotated[str, typer.Option(help="One that `palate methods` lists.")] = "vrf",
    backbone: Annotated[
        str, typer.Option(help="minilm, a folder with a transformers model, or a hub id.")
    ] = "minilm",
    split: Annotated[
        SplitKind, typer.Option(help="Hold out users and texts, or users and whole groups.")
    ] = SplitKind.users,
    min_comparisons: Annotated[
        int | None,
        typer.Option(
            help="Fewest training comparisons of an evaluated user.", show_default="20, or fewer"
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=MAX_SEED, help="Decides split and initialisation.")
    ] = 0,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", help="A setting of the method, name=value; may be repeated."),
    ] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder of cached features.")] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace a model that stands there.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Train a personalised reward model on comparisons by many users.

    Example: palate train comparisons.parquet --method vrf --backbone minilm --out runs/first
    """
    from palate.data import PreferenceData, SplitSettings
    from palate.files import refuse_existing
    from palate.model import PersonalRewardModel
    from palate.settings import parse_assignments

    settings = parse_assignments(setting or [])
    refuse_existing(out, overwrite=overwrite)
    data = PreferenceData.load(file)
    warn_of_left_out(data)
    model = PersonalRewardModel.train(
        data,
        method=method,
        backbone=backbone,
        split=SplitSettings(kind=split.value, seed=seed, min_comparisons=min_comparisons),
        seed=seed,
        settings=settings,
        cache=cache,
        progress=progress(),
    )
    model.save(out, overwrite=overwrite)
    report = model.report
    if model.report["diagnostics"].get("collapsed"):
        note("warning: the users' weights collapsed: everybody has nearly the same (see the card)")
    if as_json:
        print_json({"method": method, "model": str(out), "identity": model.identity, **report})
        return
    counts, chosen = report["split"], report["training"]
    rows = [
        ("comparisons that train", f"{counts['train']:,}"),
        ("held out for evaluation", f"{counts['evaluation']:,}"),
        ("not used: a text on either side", f"{counts['straddling']:,}"),
        ("seen users, unseen users", f"{counts['seen_users']:,}, {counts['unseen_users']:,}"),
        (
            f"users not evaluated: under {counts['min_comparisons']} comparisons",
            f"{counts['users_with_too_few']:,}",
        ),
        ("texts, longer than is read", _texts(report["encoding"])),
        ("chosen on validation", _chosen(chosen["chosen"])),
        ("seconds encoding, training", ", ".join(map(str, report["seconds"].values()))),
        ("loss, first and last tenth", _ends(chosen["losses"])),
    ]
    print_table(f"{method} in {out}", ("", ""), rows)


def _texts(encoding: dict[str, int]) -> str:
    return f"{encoding['texts']:,}, {encoding['truncated']:,}"


def _chosen(choice: dict[str, Any]) -> str:
    """The settings that were left open, by what they came to."""
    return ", ".join(f"{k.replace('_', ' ')} {_value(v)}" for k, v in choice.items())


def _value(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _ends(losses: Sequence[float]) -> str:
    if not losses:
        return "-"
    return f"{decimal(losses[0])}, {decimal(losses[-1])}"
