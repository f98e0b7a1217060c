"""`encode`: every distinct text of an input through a backbone once."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from palate.errors import BackboneError, ModelError
from palate.features import FeatureSource, resolve_backbone
from palate.features.cache import prompt_key, text_key
from palate.features.once import Encoded
from palate.files import MARK
from palate.model import PersonalRewardModel
from palate.scale.features import KIND
from palate.scale.folder import part_path, piece_path
from palate.scale.job import Job
from palate.scale.partition import KEY, array_of_keys, bytes_of_column, parts_of_keys
from palate.scale.rows import CANDIDATE, COMPARISON, candidates, comparisons, needed
from palate.scale.shuffle import Sorted, read_part, write_piece
from palate.scale.source import open_source
from palate.scale.vectors import VectorDtype, table_of_vectors
from palate.scale.whole import write_table
from palate.types import Message, Text, canonical

#: Texts of a part, at most and as many as all are distinct: half a minute of a processor's work.
PART_TEXTS = 16_384
SCHEMA = pa.schema([("key", KEY), ("prompt", pa.string()), ("response", pa.string())])


@dataclass(frozen=True)
class EncodeJob(Job):
    """name: a model's folder, or a backbone. fingerprint: of what reads the texts.

    likelihood: whether the model reads likelihoods. prompts: whether prompts are read by
    themselves too. dtype: of the vectors that are kept.
    """

    kind: ClassVar[str] = KIND
    gpu: ClassVar[bool] = True
    steps: ClassVar[tuple[str, str]] = ("finding distinct texts", "encoding parts")

    name: str
    cache: Path | None
    fingerprint: str
    likelihood: bool
    prompts: bool
    dtype: VectorDtype

    @property
    def manifest(self) -> dict[str, Any]:
        """Whatever decides a vector."""
        return {"backbone": self.fingerprint, "dtype": self.dtype, "prompts": self.prompts}

    def scatter(self, number: int) -> None:
        """The distinct texts of a piece, by key."""
        counts = Counter[str]()
        write_piece(piece_path(self.out, number), SCHEMA, self._texts(number, counts),
                    self.parts, counts)  # fmt: skip

    def _texts(self, number: int, counts: Counter[str]) -> Iterator[Sorted]:
        piece, seen = self.source.pieces[number], set[bytes]()
        columns = needed(self.source, COMPARISON, CANDIDATE, users=False)
        if "response" in columns:
            batches: Iterator[Any] = candidates(piece, columns)
        else:
            batches = comparisons(piece, columns, lambda n: counts.update(left_out=n))
        for batch in batches:
            texts: list[tuple[bytes, Text, Text | None]]
            texts = [(text_key(p, r), p, r) for p, r in batch.item_texts()]
            if self.prompts:
                texts += [(prompt_key(p), p, None) for p in _used_prompts(batch)]
            fresh = [text for text in texts if text[0] not in seen]
            seen.update(key for key, *_ in fresh)
            yield _sorted(fresh, self.parts)

    def gather(self, part: int) -> None:
        """The features of a part's texts, in the order of keys."""
        rows = read_part(self.pieces, part, self.parts)
        order = pc.sort_indices(rows, [("key", "ascending")])
        rows = rows.take(order)
        keys = bytes_of_column(rows["key"])
        first = np.ones(len(rows), dtype=bool)
        first[1:] = (keys[1:] != keys[:-1]).any(-1)
        rows, keys = rows.filter(pa.array(first)), keys[first]
        source = reading(self.name, self.cache, self.fingerprint)
        encoded = self._encode(source, rows["prompt"].to_pylist(), rows["response"].to_pylist())
        table = table_of_vectors(keys, encoded.features, self.dtype)
        counts = {"texts": len(rows), "truncated": encoded.truncated}
        write_table(part_path(self.out, part), table, counts)

    def _encode(
        self, source: FeatureSource, prompts: list[str], responses: list[str | None]
    ) -> Encoded:
        """Features of texts in their canonical form; of a prompt by itself without a response."""
        alone = [i for i, response in enumerate(responses) if response is None]
        pairs = [
            (_text(prompt), _text(response))
            for prompt, response in zip(prompts, responses, strict=True)
            if response is not None
        ]
        encoded = (source.log_likelihoods if self.likelihood else source.encode)(pairs)
        if not alone:
            return encoded
        others = source.encode_prompts([_text(prompts[i]) for i in alone])
        width = max(encoded.features.shape[1], others.features.shape[1])
        features = torch.empty(len(prompts), width)
        mask = torch.zeros(len(prompts), dtype=torch.bool)
        mask[alone] = True
        features[mask] = others.features
        if pairs:
            features[~mask] = encoded.features
        truncated = encoded.truncated + others.truncated
        return Encoded(features, encoded.computed + others.computed, truncated)


def encode_job(
    name: str,
    input_path: Path,
    out: Path,
    *,
    cache: Path | None = None,
    dtype: VectorDtype = "float32",
    parts: int | None = None,
) -> EncodeJob:
    """The job for a model's folder, or for a backbone by its name; raises where it is neither."""
    source = open_source(input_path)
    needed(source, COMPARISON, CANDIDATE, users=False)
    likelihood = prompts = False
    if (Path(name) / MARK).is_file():
        model = PersonalRewardModel.load(name)
        likelihood = model.method.reads == "likelihood"
        prompts = model.method.settings.reads_prompts
    if Path(name).exists():  # workers start elsewhere
        name = str(Path(name).absolute())
    cache = cache and cache.absolute()
    local = _local(name, cache).local.spec
    fingerprint = local.likelihood_fingerprint if likelihood else local.fingerprint
    parts = parts or -(-2 * source.rows // PART_TEXTS)
    return EncodeJob(
        out.absolute(), source, parts, name, cache, fingerprint, likelihood, prompts, dtype
    )


@lru_cache(maxsize=2)
def reading(name: str, cache: Path | None, fingerprint: str) -> FeatureSource:
    """What reads texts in this process; raises `BackboneError` where it is another than begun."""
    source = _local(name, cache)
    if fingerprint not in (source.local.spec.fingerprint, source.local.spec.likelihood_fingerprint):
        raise BackboneError(f"{name!r} is another backbone on this machine: bring the same one")
    return source


def _local(name: str, cache: Path | None) -> FeatureSource:
    if not (Path(name) / MARK).is_file():
        return FeatureSource(resolve_backbone(name), cache)
    model = PersonalRewardModel.load(name, cache=cache)
    if model.backbone is None:
        raise ModelError(
            f"the model in {name} was trained on features and has no backbone to encode with: "
            "write your own with `palate.scale.features.write_features`"
        )
    return model.reader.source()


def _used_prompts(batch: Any) -> list[Text]:  # noqa: ANN401
    return [batch.prompts[p] for p in np.unique(batch.prompt)]


def _sorted(texts: list[tuple[bytes, Text, Text | None]], parts: int) -> Sorted:
    keys = np.frombuffer(b"".join(key for key, *_ in texts), dtype=np.uint8).reshape(-1, 16)
    columns = {
        "key": array_of_keys(keys),
        "prompt": pa.array([canonical(prompt) for _, prompt, _ in texts], pa.string()),
        "response": pa.array([None if r is None else canonical(r) for *_, r in texts], pa.string()),
    }
    return pa.table(columns, schema=SCHEMA), parts_of_keys(keys, parts)


def _text(written: str) -> Text:
    """The text that `canonical` wrote."""
    if not written.startswith("\x00"):
        return written
    return tuple(Message(role, content) for role, content in json.loads(written[1:]))
