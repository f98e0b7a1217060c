"""Which backbone: a name, path or hub id resolved to a folder and all that decides its features."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from palate.errors import BackboneError, SettingsError
from palate.features.declared import (
    Kind,
    Pooling,
    kind_of,
    max_positions,
    max_tokens_of,
    pooling_of,
    read_config,
)
from palate.features.locate import locate

Dtype = Literal["float32", "bfloat16"]

#: Bumped when the way that texts become hidden states changes: older cache entries then lapse.
ENCODING_VERSION = 1
#: Likewise for the way that texts become likelihoods.
LIKELIHOOD_VERSION = 1
#: Fewest tokens that hold something of a text beside a special token at either end.
LEAST_MAX_TOKENS = 3


@dataclass(frozen=True)
class BackboneSpec:
    """A backbone and all that decides its hidden states.

    name: what the user wrote: "minilm", a folder, or a hub id. identity: hash of the weights or the
    hub's commit. kind: sentence encoder or causal model. pooling: which hidden states make h.
    reference: the backbone before its training, whose hidden states stand behind its own (N, 2 D).
    """

    name: str
    identity: str
    kind: Kind
    pooling: Pooling
    normalise: bool
    max_tokens: int
    dtype: Dtype
    reference: BackboneSpec | None = None

    @property
    def fingerprint(self) -> str:
        """Key of the feature cache: equal for equal hidden states, whatever the name."""
        content = self._content() | {"version": ENCODING_VERSION}
        if self.reference is not None:
            content["reference"] = self.reference.fingerprint
        return _digest(content)

    @property
    def likelihood_fingerprint(self) -> str:
        """Key of the cache of log-likelihoods, which know of no pooling."""
        unread = {"pooling": None, "normalise": None}
        return _digest(self._content() | unread | {"log-likelihood": LIKELIHOOD_VERSION})

    def _content(self) -> dict[str, Any]:
        content = asdict(self) | {"name": None}
        del content["reference"]
        return content


@dataclass(frozen=True)
class LocalBackbone:
    """A backbone's specification and the folder on this machine that holds it."""

    spec: BackboneSpec
    folder: Path
    reference: LocalBackbone | None = None

    def beside(self, reference: LocalBackbone) -> LocalBackbone:
        """This one with the backbone that it was before its training."""
        return LocalBackbone(replace(self.spec, reference=reference.spec), self.folder, reference)


def resolve_backbone(
    name: str,
    *,
    pooling: Pooling | None = None,
    max_tokens: int | None = None,
    dtype: Dtype | None = None,
) -> LocalBackbone:
    """Find a backbone: "minilm" (embedded), a folder, or a hub id with an optional @revision.

    None takes what the model's own files say, and for `dtype` bfloat16 where the processor computes
    it in hardware. Raises `BackboneError` for an unknown or damaged one, `SettingsError` for a
    setting that it cannot have.
    """
    folder, identity = locate(name)
    config = read_config(folder)
    kind = kind_of(folder, config)
    declared_pooling, normalise = pooling_of(folder, kind)
    spec = BackboneSpec(
        name=name,
        identity=identity,
        kind=kind,
        pooling=_pooling(name, pooling or declared_pooling),
        normalise=normalise,
        max_tokens=max_tokens_of(folder, config) if max_tokens is None else max_tokens,
        dtype=dtype or fast_dtype(),
    )
    most = max_positions(config) or spec.max_tokens
    if not LEAST_MAX_TOKENS <= spec.max_tokens <= most:
        raise SettingsError(
            f"max_tokens is {spec.max_tokens}; backbone {name!r} reads {LEAST_MAX_TOKENS} to {most}"
        )
    if spec.dtype not in get_args(Dtype):
        raise SettingsError(f"dtype is {spec.dtype!r}; expected one of {get_args(Dtype)}")
    return LocalBackbone(spec, folder)


def locate_again(spec: BackboneSpec) -> LocalBackbone:
    """The folder of a backbone that a saved model was trained with; refuses other weights."""
    on_hub = "@" in spec.identity  # a commit stays where it is while the hub's main branch moves on
    folder, identity = locate(spec.identity if on_hub else spec.name)
    if identity != spec.identity:
        raise BackboneError(
            f"backbone {spec.name!r} has other weights here ({identity[:12]}) than the model was "
            f"trained with ({spec.identity[:12]}): bring the same ones, or train again"
        )
    reference = None if spec.reference is None else locate_again(spec.reference)
    return LocalBackbone(spec, folder, reference)


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]


def _pooling(name: str, pooling: Pooling | str) -> Pooling:
    for known in get_args(Pooling):
        if pooling == known:
            return known  # type: ignore[no-any-return]
    raise SettingsError(
        f"pooling {pooling!r} of backbone {name!r} is not known: choose one of {get_args(Pooling)}"
    )


def fast_dtype() -> Dtype:
    """bfloat16 where a GPU or the processor's matrix unit computes it, else float32."""
    import torch

    if torch.cuda.is_available():
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    flags = torch.cpu.get_capabilities()
    return "bfloat16" if flags.get("amx_bf16") or flags.get("avx512_bf16") else "float32"
