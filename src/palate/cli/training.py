"""`palate train`."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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

if TYPE_CHECKING:
    from palate.finetuning import BackboneTraining

#: The largest number that a generator takes.
MAX_SEED = 2**63 - 1


class Trained(StrEnum):
    """How much of the backbone is trained."""

    frozen = "frozen"
    lora = "lora"
    full = "full"


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
    train_backbone: Annotated[
        Trained,
        typer.Option(
            help="Train the backbone too: low-rank additions (lora), or all of it (full)."
        ),
    ] = Trained.frozen,
    backbone_setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set-backbone", help="A setting of its training, name=value; may be repeated."
        ),
    ] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder of cached features.")] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace a model that stands there.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Train a personalised reward model on comparisons by many users.

    Example: palate train comparisons.parquet --method vrf --backbone minilm --out runs/first

    A backbone's training keeps checkpoints in OUT.work: the same command goes on after a stop.
    """
    from palate.data import PreferenceData, SplitSettings
    from palate.files import refuse_existing
    from palate.finetuning.engine import is_main_process
    from palate.model import PersonalRewardModel
    from palate.settings import parse_assignments

    settings = parse_assignments(setting or [])
    of_backbone = _backbone_training(train_backbone, parse_assignments(backbone_setting or []))
    work = out.with_name(f"{out.name}.work")
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
        train_backbone=of_backbone,
        work=work if of_backbone else None,
        cache=cache,
        progress=progress() if is_main_process() else None,
    )
    if not is_main_process():
        return
    model.save(out, overwrite=overwrite)
    if of_backbone:
        shutil.rmtree(work, ignore_errors=True)
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
        *_of_backbone(chosen.get("backbone")),
        ("seconds encoding, training", ", ".join(map(str, report["seconds"].values()))),
        ("loss, first and last tenth", _ends(chosen["losses"])),
    ]
    print_table(f"{method} in {out}", ("", ""), rows)


def _backbone_training(how: Trained, settings: dict[str, Any]) -> BackboneTraining | None:
    from palate.errors import SettingsError
    from palate.finetuning import BackboneTraining
    from palate.settings import build

    if how is Trained.frozen:
        if settings:
            raise SettingsError("--set-backbone needs --train-backbone lora or full")
        return None
    return build(BackboneTraining, {**settings, "mode": how.value})


def _texts(encoding: dict[str, int]) -> str:
    return f"{encoding['texts']:,}, {encoding['truncated']:,}"


def _of_backbone(report: dict[str, Any] | None) -> list[tuple[str, str]]:
    """How the backbone's training went, where there was one."""
    if report is None:
        return []
    losses = ", ".join(decimal(loss) for loss in report["validation_log_losses"])
    taken = f"{report['epochs_taken']} of {report['epochs']}"
    return [("epochs of the backbone", taken), ("log-loss on validation, by epoch", losses)]


def _chosen(choice: dict[str, Any]) -> str:
    """The settings that were left open, by what they came to."""
    return ", ".join(f"{k.replace('_', ' ')} {_value(v)}" for k, v in choice.items())


def _value(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _ends(losses: Sequence[float]) -> str:
    if not losses:
        return "-"
    return f"{decimal(losses[0])}, {decimal(losses[-1])}"


def export(
    run: Annotated[Path, typer.Argument(help="A model's folder.")],
    out: Annotated[Path, typer.Option(help="Folder for the classifier.")],
    as_json: JsonOption = False,
) -> None:
    """Write backbone and bases as a stock classifier with K labels, for vLLM and SGLang.

    Example: palate export runs/qwen --out runs/qwen-classifier
    """
    from palate.model import PersonalRewardModel

    model = PersonalRewardModel.load(run)
    model.export(out)
    if as_json:
        print_json({"classifier": str(out), "identity": model.identity})
        return
    print_table(f"{model.method.name} in {out}", ("", ""), [("model", model.identity)])
