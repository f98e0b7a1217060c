"""A folder of features: each text's once, in the order of keys, found again by key."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor

from palate.errors import DataError, ScaleError
from palate.model import PersonalRewardModel
from palate.scale.folder import begun, part_path, read_manifest
from palate.scale.partition import KEY, bytes_of_column, parts_of_keys
from palate.scale.vectors import BYTES, VectorDtype, table_of_vectors, vectors_of
from palate.scale.whole import counts_of, write_table

KIND = "features"
COMMAND = "palate scale encode"
#: Bytes of parts that a worker keeps in memory; where a folder has more, parts are read again.
CACHE_BYTES = 256 * 2**20


@dataclass(frozen=True)
class FeatureFolder:
    """What is known of a folder of features before any is read.

    identity: hash of all that decides them. backbone: the fingerprint of what read the texts, None
    for hidden states of one's own. prompts: whether prompts stand there by themselves too.
    """

    path: Path
    parts: int
    dtype: str
    backbone: str | None
    prompts: bool
    identity: str


def open_features(path: Path) -> FeatureFolder:
    """A finished folder; raises `ScaleError` where it is none."""
    manifest = read_manifest(path, KIND, COMMAND)
    identity = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()[:32]
    return FeatureFolder(
        path,
        parts=manifest["parts"],
        dtype=manifest["dtype"],
        backbone=manifest["backbone"],
        prompts=manifest["prompts"],
        identity=identity,
    )


def check_features(folder: FeatureFolder, model: PersonalRewardModel) -> None:
    """Raise `ScaleError` where a model does not read such features."""
    expected = fingerprint_of(model)
    if folder.backbone != expected:
        raise ScaleError(
            f"the features in {folder.path} are of backbone {_short(folder.backbone)}, the model "
            f"reads {_short(expected)}: run `{COMMAND}` with this model"
        )
    if model.method.settings.reads_prompts and not folder.prompts:
        raise ScaleError(
            f"the features in {folder.path} hold no prompts by themselves, which the model reads: "
            f"run `{COMMAND}` with this model"
        )
    width = width_of(folder)
    if width != model.method.width:
        raise ScaleError(
            f"the features in {folder.path} have {width} numbers each, the model reads "
            f"{model.method.width}: run `{COMMAND}` with this model"
        )


def fingerprint_of(model: PersonalRewardModel) -> str | None:
    """What has to have read the texts for a model; None where it was trained on features."""
    if model.backbone is None:
        return None
    likelihood = model.method.reads == "likelihood"
    return model.backbone.likelihood_fingerprint if likelihood else model.backbone.fingerprint


def write_features(
    path: Path, keys: NDArray[np.uint8], vectors: Tensor, *, parts: int = 1, prompts: bool = False,
    dtype: VectorDtype = "float32",
) -> None:  # fmt: skip
    """Hidden states of one's own as a folder, for a model that was trained on features.

    keys: (n, 16), `palate.features.cache.text_key` of each text. vectors: (n, D).
    """
    content = hashlib.sha256(keys.tobytes() + vectors.numpy().tobytes()).hexdigest()[:32]
    manifest = {"kind": KIND, "parts": parts, "input": content}
    manifest |= {"backbone": None, "dtype": dtype, "prompts": prompts}
    order = np.lexsort(keys.T[::-1])
    part = parts_of_keys(keys[order], parts)
    with begun(path, manifest):
        for number in range(parts):
            own = order[part == number]
            table = table_of_vectors(keys[own], vectors[torch.from_numpy(own)], dtype)
            write_table(part_path(path, number), table, {"texts": len(own)})


class FeatureTable:
    """Features by key, out of the parts that are wanted; some parts stay in memory."""

    def __init__(self, folder: FeatureFolder, cache_bytes: int = CACHE_BYTES) -> None:
        self.folder = folder
        self._room = cache_bytes
        self._kept: OrderedDict[int, tuple[pa.Array, Tensor]] = OrderedDict()

    def find(self, keys: pa.ChunkedArray) -> tuple[Tensor, NDArray[np.int64]]:
        """Features (m, D) of the m distinct keys, sorted, and which of them each key (n,) has.

        Raises `DataError` where a text has none.
        """
        coded = keys.combine_chunks().dictionary_encode()
        order = pc.array_sort_indices(coded.dictionary).to_numpy()
        rank = np.empty(len(order), dtype=np.int64)
        rank[order] = np.arange(len(order))
        distinct = coded.dictionary.take(pa.array(order))
        part = parts_of_keys(bytes_of_column(distinct), self.folder.parts)
        ends = np.flatnonzero(np.diff(part, append=-1)) + 1
        found = [
            self._find_in(int(part[start]), distinct[start:end])
            for start, end in zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True)
        ]
        return torch.cat(found), rank[coded.indices.to_numpy()]

    def _find_in(self, part: int, keys: pa.Array) -> Tensor:
        known, vectors = self._part(part)
        rows = pc.index_in(keys, value_set=known)
        if rows.null_count:
            raise DataError(
                f"{rows.null_count} of {len(keys)} texts have no features in {self.folder.path}: "
                f"run `{COMMAND}` on these rows too, into another folder"
            )
        return vectors[torch.from_numpy(rows.to_numpy().astype(np.int64))]

    def _part(self, part: int) -> tuple[pa.Array, Tensor]:
        if part not in self._kept:
            table = pq.read_table(part_path(self.folder.path, part))
            keys = table["key"].combine_chunks().cast(KEY)
            self._kept[part] = keys, vectors_of(table, self.folder.dtype)
            while self._size() > self._room and len(self._kept) > 1:
                self._kept.popitem(last=False)
        self._kept.move_to_end(part)
        return self._kept[part]

    def _size(self) -> int:
        return sum(vectors.nbytes + keys.nbytes for keys, vectors in self._kept.values())


def width_of(folder: FeatureFolder) -> int:
    """D, of the first part that holds a text."""
    paths = (part_path(folder.path, part) for part in range(folder.parts))
    path = next(path for path in paths if counts_of(path)["texts"])
    width: int = pq.read_schema(path).field("vector").type.byte_width
    return width // BYTES[folder.dtype]


def _short(identity: str | None) -> str:
    return "none (hidden states)" if identity is None else identity[:12]
