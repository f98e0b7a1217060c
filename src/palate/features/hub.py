"""Whole folders from and to the hub."""

from __future__ import annotations

from pathlib import Path

from palate.errors import ModelError

NEEDS = "the hub needs an extra: pip install 'palate[backbones]'"


def fetch(name: str, revision: str | None = None) -> Path:
    """The folder of a repository of the hub on this machine, at a revision."""
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise ModelError(NEEDS) from error
    try:
        return Path(snapshot_download(name, revision=revision))
    except Exception as error:  # of the network, the hub, or the name: many kinds, one meaning
        raise ModelError(
            f"{name!r} is no folder here, and the hub does not give it: {error}"
        ) from error


def push(folder: Path, name: str, *, private: bool, token: str | None) -> str:
    """Upload a folder as a repository, made where there is none; the commit's address."""
    try:
        from huggingface_hub import HfApi
    except ImportError as error:
        raise ModelError(NEEDS) from error
    api = HfApi(token=token)
    try:
        api.create_repo(name, private=private, exist_ok=True)
        commit = api.upload_folder(folder_path=folder, repo_id=name)
    except Exception as error:  # of the network, the hub, the token, or the name
        raise ModelError(f"the hub does not take {name!r}: {error}") from error
    return str(commit)
