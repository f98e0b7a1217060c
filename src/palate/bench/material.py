"""What cells are computed from: comparisons, their features and the one split of each seed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from torch import Tensor

from palate.bench.datasets import drawn_by, load_data
from palate.bench.experiment import DataChoice, Row, SplitChoice
from palate.data import PreferenceData
from palate.data.comparisons import IntArray
from palate.data.splits import Split, SplitSettings, hash_order, make_split
from palate.errors import BackboneError, ExperimentError
from palate.features import FeatureSource, resolve_backbone
from palate.features.spec import LocalBackbone
from palate.files import json_checksum
from palate.methods import Method, MethodSettings
from palate.progress import Progress
from palate.reading import read_texts

#: Draws of the data, one a seed where the seed decides them, that are kept at hand.
DATA_KEPT = 5
#: Hidden states, those with prompts, and likelihoods.
KINDS_KEPT = 3
K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True)
class Place:
    """Where an experiment's files are: beside which folder, and what stands elsewhere.

    elsewhere: paths by data set, as `--data` names them. cache: of features.
    """

    folder: Path
    elsewhere: Mapping[str, str]
    cache: Path | None = None

    def source_of(self, data: DataChoice) -> str | None:
        """The data's file: as `elsewhere` says, else in the folder PALATE_DATA, else beside."""
        names = [data.name] if data.source is None else [Path(data.source).stem, data.name]
        for name in names:
            if name in self.elsewhere:
                return str(Path(self.elsewhere[name]).absolute())
        candidates = [os.environ.get("PALATE_DATA"), self.folder]
        for folder in candidates:
            path = Path(folder or "") / (data.source or data.name)
            if folder is not None and path.exists() and (data.source or folder != self.folder):
                return str(path.absolute())
        if data.source is not None:
            raise ExperimentError(
                f"{data.source} is neither in {self.folder} nor in the folder PALATE_DATA: bring "
                f"it, or pass --data {Path(data.source).stem}=PATH"
            )
        return None


class Materials:
    """Loads what cells need and keeps the last few of each, since cells come seed by seed."""

    def __init__(self, place: Place, progress: Progress | None = None) -> None:
        self.place = place
        self.progress = progress
        self._data: dict[str, tuple[PreferenceData, Split | None, dict[str, Any]]] = {}
        self._features: dict[tuple[str, str, str], Tensor] = {}
        self._split: dict[str, Split] = {}
        self._backbone: dict[str, LocalBackbone | BackboneError] = {}

    def data(self, choice: DataChoice, seed: int) -> PreferenceData:
        """The comparisons; those of a world or of a protocol are drawn by the seed."""
        return self._loaded(choice, seed)[0]

    def card(self, choice: DataChoice, seed: int) -> dict[str, Any]:
        """Source, licence and counts."""
        return self._loaded(choice, seed)[2]

    def _loaded(
        self, choice: DataChoice, seed: int
    ) -> tuple[PreferenceData, Split | None, dict[str, Any]]:
        key = json_checksum({"choice": asdict(choice), "seed": drawn_by(choice, seed)})
        if key not in self._data:
            _keep(self._data, key, load_data(choice, self.place.source_of(choice), seed), DATA_KEPT)
        return self._data[key]

    def split(self, choice: DataChoice, how: SplitChoice, seed: int) -> Split:
        """The seed's split, the same for every method."""
        key = json_checksum({"data": asdict(choice), "split": asdict(how), "seed": seed})
        if key not in self._split:
            data, own, _ = self._loaded(choice, seed)
            _keep(self._split, key, self._divide(data, own, how, seed), 1)
        return self._split[key]

    @staticmethod
    def _divide(data: PreferenceData, own: Split | None, how: SplitChoice, seed: int) -> Split:
        if how.kind != "own":
            return make_split(data, split_settings(how, seed))
        if own is None:
            raise ExperimentError(
                f"split kind is own, but {data.source} brings none; expected users or groups"
            )
        return own

    def backbone(self, name: str) -> LocalBackbone:
        """The backbone of a name; looked for once. Raises `BackboneError`, each time alike."""
        if name not in self._backbone:
            try:
                self._backbone[name] = resolve_backbone(name)
            except BackboneError as error:
                self._backbone[name] = error
        found = self._backbone[name]
        if isinstance(found, BackboneError):
            raise found
        return found

    def source(self, backbone: str) -> FeatureSource:
        """What reads texts by a backbone."""
        return FeatureSource(self.backbone(backbone), self.place.cache)

    def features(
        self,
        data: PreferenceData,
        backbone: str,
        method_class: type[Method],
        settings: MethodSettings,
    ) -> Tensor:
        """What the method reads: hidden states (N, D) of the data's items, those of the prompts
        (P, D) after them, or log-likelihoods (N, 1). Computed once, then from the cache.

        Raises `CannotRunError` where the backbone has none of them.
        """
        reads = "prompts" if settings.reads_prompts else method_class.reads
        key = (data.digest, backbone, reads)
        if key not in self._features:
            read = read_texts(self.source(backbone), data, method_class, settings, self.progress)
            _keep(self._features, key, read.features, KINDS_KEPT)
        return self._features[key]


def _keep(table: dict[K, V], key: K, value: V, most: int) -> None:
    """Add to a table that forgets its oldest."""
    while len(table) >= most:
        del table[next(iter(table))]
    table[key] = value


def split_settings(how: SplitChoice, seed: int) -> SplitSettings:
    """The split's settings with the seed; not for a data set's own split."""
    assert how.kind != "own"
    return SplitSettings(
        kind=how.kind,
        seed=seed,
        seen=how.seen,
        training=how.training,
        min_comparisons=how.min_comparisons,
    )


def with_less(split: Split, row: Row) -> Split:
    """The split with the row's shares of its training users and of their comparisons.

    Smaller shares lie within larger ones. Unseen users keep all that is theirs; seen users that
    no longer train are not evaluated.
    """
    if row.share_of_users == row.share_of_comparisons == 1:
        return split
    data, seed = split.data, split.settings.seed
    users = np.unique(data.user[split.train])
    order = hash_order(seed, "share", [data.user_ids[i] for i in users])
    kept = np.sort(users[order[: max(2, round(row.share_of_users * len(users)))]])
    train = split.train[np.isin(data.user[split.train], kept)]
    train = _first_share(data.user[train], train, row.share_of_comparisons, seed)
    return replace(split, train=np.sort(train), seen=np.intersect1d(split.seen, kept))


def _first_share(user: IntArray, rows: IntArray, share: float, seed: int) -> IntArray:
    """Each user's first rows in a random order, one at least."""
    order = np.random.default_rng(seed).permutation(len(rows))
    order = order[np.argsort(user[order], kind="stable")]
    owner = user[order]
    rank = np.arange(len(owner)) - np.searchsorted(owner, owner)
    count = np.bincount(user)[owner]
    kept: IntArray = rows[order[rank < np.maximum(1, np.ceil(share * count))]]
    return kept
