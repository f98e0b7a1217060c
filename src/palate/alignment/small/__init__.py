"""A language model of three million parameters that writes like the Attributes world.

It is trained on first use, in minutes on two cores, and kept in the cache folder.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from palate.alignment.local import LocalPolicy
from palate.alignment.small.settings import SmallSettings
from palate.errors import BackboneError, CacheError, PolicyError
from palate.features.cache import default_cache_folder
from palate.files import OutputError, new_folder
from palate.progress import Progress

NAME = "small"
#: Answers written at once: a step costs hardly more for many rows of a model so small.
BATCH = 256


def small_policy(
    cache: Path | None = None,
    progress: Progress | None = None,
    settings: SmallSettings | None = None,
) -> LocalPolicy:
    """The small policy, from the cache folder or trained now.

    One process trains at a time and others wait; what a killed one did is continued. Raises
    `CacheError` where the folder cannot be written, `PolicyError` where a kept policy is damaged.
    """
    chosen = settings or SmallSettings()
    folder = (cache or default_cache_folder()) / "policies"
    place = folder / f"{NAME}-{chosen.key}"
    if not place.is_dir():
        with _alone(folder / f"{place.name}.lock"):
            if not place.is_dir():
                _train(chosen, place, progress)
    try:
        policy = LocalPolicy.load(str(place), dtype="float32", batch=BATCH)
    except BackboneError as error:
        raise PolicyError(f"the small policy is damaged: {error}; delete {place}") from error
    policy.name = NAME
    return policy


def _train(settings: SmallSettings, place: Path, progress: Progress | None) -> None:
    from palate.alignment.small.training import train_small

    checkpoint = place.with_suffix(".partial")
    try:
        with new_folder(place) as folder:
            train_small(settings, folder, checkpoint, progress)
        checkpoint.unlink(missing_ok=True)
    except (OSError, OutputError) as error:
        raise CacheError(
            f"the small policy cannot be kept in {place.parent}: {error}; free disk space, or set "
            "PALATE_CACHE to another folder"
        ) from error


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Wait until no other process holds the lock; a killed one holds none."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = path.open("w")
    except OSError as error:
        raise CacheError(f"cannot write {path}: {error}; set PALATE_CACHE") from error
    with stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
