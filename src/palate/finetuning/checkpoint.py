"""A training's state on disk, so that it goes on to the same bytes as if never stopped."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from palate.errors import ModelError
from palate.files import new_folder

TENSORS = "state.safetensors"
STATE = "state.json"


def write_checkpoint(
    folder: Path,
    tensors: Mapping[str, Tensor],
    optimisers: Mapping[str, Any],
    state: Mapping[str, Any],
) -> None:
    """Replace the checkpoint; one that is interrupted leaves the last one whole."""
    content = dict(tensors)
    for name, optimiser in optimisers.items():
        for number, values in optimiser["state"].items():
            for key, value in values.items():
                content[f"{name}.{number}.{key}"] = value
    with new_folder(folder, overwrite=True, mark=STATE) as temporary:
        save_file(
            {n: t.detach().cpu().contiguous() for n, t in content.items()}, temporary / TENSORS
        )
        (temporary / STATE).write_text(json.dumps(state, indent=1) + "\n")


def read_checkpoint(folder: Path, expected: Mapping[str, Any]) -> tuple[dict[str, Tensor], Any]:
    """Tensors and state; raises `ModelError` where it is damaged, or of other settings, by name."""
    try:
        state = json.loads((folder / STATE).read_text())
        tensors = load_file(folder / TENSORS)
        settings = dict(state["settings"])
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise ModelError(
            f"the checkpoint in {folder} is damaged: {error!r}; remove the folder to begin again"
        ) from error
    differing = sorted(
        key for key in {*settings, *expected} if settings.get(key) != expected.get(key)
    )
    if differing:
        pairs = ", ".join(
            f"{k} {settings.get(k)!r} there, {expected.get(k)!r} now" for k in differing
        )
        raise ModelError(
            f"the checkpoint in {folder} is of other settings: {pairs}; give those, or "
            "another folder"
        )
    return tensors, state


def restore_optimiser(optimiser: Any, name: str, tensors: Mapping[str, Tensor]) -> None:  # noqa: ANN401
    """Put moments back, in the precision that they were kept in."""
    content = optimiser.state_dict()
    found: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith(f"{name}."):
            _, number, what = key.split(".")
            found.setdefault(int(number), {})[what] = value
    content["state"] = found
    optimiser.load_state_dict(content)


def copy_into(parameters: Mapping[str, Tensor], name: str, tensors: Mapping[str, Tensor]) -> None:
    """Put weights back in place."""
    with torch.no_grad():
        for key, parameter in parameters.items():
            parameter.copy_(tensors[f"{name}.{key}"])
