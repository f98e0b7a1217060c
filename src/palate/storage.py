"""A fitted model as a folder of safetensors and JSON; no pickle is ever written or read."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as tensors_as_bytes
from torch import Tensor

from palate.errors import ModelError, PalateError
from palate.features.spec import BackboneSpec
from palate.files import OWN_FOLDER, json_checksum
from palate.methods import Method, method_named
from palate.settings import build
from palate.types import UserPosterior

FORMAT = 2
#: What a model without a backbone of its own is written in, which older versions read too.
PLAIN_FORMAT = 1
CONFIG = "config.json"
METHOD_TENSORS = "model.safetensors"
TRAINING_TENSORS = "training.safetensors"
REPORT = "training.json"

DIFFERS = "its checksum differs"
ADVICE = "bring a whole copy of the folder, or train again"


@dataclass(frozen=True, eq=False)
class SeenUsers:
    """What training leaves behind of its users and texts, by keyed hashes and not by name.

    user_keys: (U, 16) bytes. posterior: of the U users, from all their training comparisons.
    text_keys: (M, 16) bytes of the responses that were trained on.
    """

    user_keys: Tensor
    posterior: UserPosterior
    text_keys: Tensor


@dataclass(frozen=True, eq=False)
class Stored:
    """The parts of a saved model."""

    method: Method
    backbone: BackboneSpec | None
    seen: SeenUsers
    report: dict[str, Any]
    identity: str
    own_backbone: Path | None


def identity_of(method_bytes: bytes, backbone: BackboneSpec | None) -> str:
    """What tells one fitted model from another: its tensors and its backbone."""
    digest = hashlib.sha256(method_bytes)
    digest.update((backbone.fingerprint if backbone else "features").encode())
    return digest.hexdigest()[:32]


def method_bytes(method: Method) -> bytes:
    """The method's tensors in the safetensors format; equal bytes for equal models."""
    state = {name: tensor.contiguous() for name, tensor in sorted(method.state_dict().items())}
    return tensors_as_bytes(state)


def write_model(
    folder: Path,
    method: Method,
    backbone: BackboneSpec | None,
    seen: SeenUsers,
    report: dict[str, Any],
    own_backbone: Path | None = None,
) -> None:
    """Fill a folder; the checksums in its configuration tell later damage.

    own_backbone: the folder of a backbone that was trained with the model, to be copied into it.
    """
    if own_backbone is not None:
        shutil.copytree(own_backbone, folder / OWN_FOLDER)
    posterior = seen.posterior
    training = {"user_keys": seen.user_keys, "text_keys": seen.text_keys}
    training |= {"mean": posterior.mean, "answers": posterior.answers}
    if posterior.variance is not None:
        training["variance"] = posterior.variance
    contents = {
        METHOD_TENSORS: method_bytes(method),
        TRAINING_TENSORS: tensors_as_bytes({k: v.contiguous() for k, v in training.items()}),
        REPORT: _json_bytes(report),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    config = {
        "format": PLAIN_FORMAT if own_backbone is None else FORMAT,
        "method": method.name,
        "width": method.width,
        "settings": asdict(method.settings),
        "backbone": None if backbone is None else asdict(backbone),
        "own_backbone": own_backbone is not None,
        "sha256": {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()},
    }
    (folder / CONFIG).write_bytes(_json_bytes(config | {"checksum": json_checksum(config)}))


def read_model(folder: Path) -> Stored:
    """Read a model's folder; raises `ModelError` naming the file that is missing or damaged."""
    config = _read_config(folder)
    if config.pop("checksum", None) != json_checksum(config):
        raise ModelError(f"the model file {folder / CONFIG} is damaged: {DIFFERS}; {ADVICE}")
    try:
        checksums = dict(config["sha256"])
        contents = {
            name: _read_checked(folder / name, checksums[name])
            for name in (METHOD_TENSORS, TRAINING_TENSORS, REPORT)
        }
        method = _build_method(config)
        state = load_tensors(contents[METHOD_TENSORS])
        method.load_state_dict(state)
        backbone = config["backbone"] and build(BackboneSpec, config["backbone"])
        own = folder / OWN_FOLDER if config.get("own_backbone") else None
        if own is not None and backbone is not None:
            backbone = replace(backbone, name=str(own))
        seen = _read_seen(load_tensors(contents[TRAINING_TENSORS]))
        report = json.loads(contents[REPORT])
    except ModelError:
        raise
    except PalateError as error:  # whole, but of a method or a setting that is not known here
        raise ModelError(
            f"the model in {folder} cannot be read: {error}: upgrade palate"
        ) from error
    except (KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"the model in {folder} is damaged: {error!r}; {ADVICE}") from error
    method.eval().requires_grad_(False)
    identity = identity_of(contents[METHOD_TENSORS], backbone)
    return Stored(method, backbone, seen, report, identity, own)


def _read_config(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise ModelError(f"no model in {folder}: expected a folder that `palate train --out` wrote")
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(f"the model in {folder} has no {CONFIG}; {ADVICE}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(
            f"the model file {folder / CONFIG} is damaged: {error}; {ADVICE}"
        ) from error
    if not isinstance(config, dict) or not isinstance(config.get("format"), int):
        raise ModelError(
            f"the model file {folder / CONFIG} is no model's configuration: expected a folder that "
            "`palate train --out` wrote"
        )
    if config["format"] > FORMAT:
        raise ModelError(
            f"the model in {folder} has format {config['format']}, this version reads up to "
            f"{FORMAT}: upgrade palate"
        )
    return config


def _read_checked(path: Path, checksum: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(
            f"the model file {path} is missing or unreadable ({error}); {ADVICE}"
        ) from error
    if hashlib.sha256(content).hexdigest() != checksum:
        raise ModelError(f"the model file {path} is damaged: {DIFFERS}; {ADVICE}")
    return content


def _build_method(config: dict[str, Any]) -> Method:
    method_class = method_named(config["method"])
    settings = build(method_class.settings_class, config["settings"])
    return method_class(settings, int(config["width"]))


def _read_seen(tensors: dict[str, Tensor]) -> SeenUsers:
    posterior = UserPosterior(tensors["mean"], tensors.get("variance"), tensors["answers"])
    return SeenUsers(tensors["user_keys"], posterior, tensors["text_keys"])


def _json_bytes(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=1) + "\n").encode()
