"""Values of a policy's prefixes: what basis rewards the finished answer is expected to have."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as tensors_as_bytes
from torch import Tensor, nn
from torch.nn import functional as F

from palate.errors import ModelError
from palate.files import json_checksum, new_folder
from palate.settings import build

FORMAT = 1
CONFIG, TENSORS = "values.json", "values.safetensors"


@dataclass(frozen=True)
class HeadsShape:
    """Sizes: width D of the policy's hidden states, bases K, hidden units, rank of the actions."""

    width: int
    bases: int
    hidden: int = 128
    rank: int = 32

    def __post_init__(self) -> None:
        if min(self.width, self.bases, self.hidden, self.rank) < 1:
            raise ValueError("sizes must be 1 or more")


@dataclass(frozen=True)
class Owners:
    """Whose values they are: the identities of the policy and of the reward model."""

    policy: str
    model: str


class ValueHeads(nn.Module):
    """V_k(s) of a prefix and Q_k(s, a) of each next token, k = 1..K, from one hidden state.

        Q_k(s, a) = V_k(s) + A_k(s, a),    A_k(s, a) = q_k(h_s) . e(a)

    with queries q_k(h) in R^rank and keys e(a) made of the policy's own embedding of the token. One
    hidden state so gives the values of all next tokens, and decoding needs no further pass through
    the policy. `centre` and `scale` (K,) are the mean and the size of the basis rewards that were
    learned from; `reach` (K, K) is the covariance of their differences between two answers.
    """

    centre: Tensor
    scale: Tensor
    reach: Tensor

    def __init__(self, shape: HeadsShape) -> None:
        super().__init__()
        self.shape = shape
        self.read = nn.Linear(shape.width, shape.hidden)
        self.state = nn.Linear(shape.hidden, shape.bases)
        self.query = nn.Linear(shape.hidden, shape.bases * shape.rank)
        self.key_in = nn.Linear(shape.width, shape.hidden)
        self.key_out = nn.Linear(shape.hidden, shape.rank)
        self.register_buffer("centre", torch.zeros(shape.bases))
        self.register_buffer("scale", torch.ones(shape.bases))
        self.register_buffer("reach", torch.eye(shape.bases))

    def units(self, hidden: Tensor) -> Tensor:
        """What all heads read of hidden states (..., D): (..., hidden)."""
        return F.gelu(self.read(_standardised(hidden)))

    def keys(self, embedding: Tensor) -> Tensor:
        """e(a) of tokens' embeddings (..., D): (..., rank)."""
        found: Tensor = self.key_out(F.gelu(self.key_in(_standardised(embedding))))
        return found

    def queries(self, units: Tensor) -> Tensor:
        """q_k of units (..., hidden): (..., K, rank)."""
        found: Tensor = self.query(units)
        return found.reshape(*found.shape[:-1], self.shape.bases, self.shape.rank)

    def values(self, hidden: Tensor) -> Tensor:
        """V_k(s) in units of the basis rewards, of hidden states (..., D): (..., K)."""
        found: Tensor = self.centre + self.scale * self.state(self.units(hidden))
        return found

    def advantages(self, hidden: Tensor, weights: Tensor, keys: Tensor) -> Tensor:
        """(n, m) sum_k w_k A_k(s, a): hidden states (n, D), weights (n, K), keys (n, m, rank)."""
        queries = self.queries(self.units(hidden))
        query = torch.einsum("nkr,nk->nr", queries, weights * self.scale)
        return torch.einsum("nmr,nr->nm", keys, query)

    # -- files --------------------------------------------------------------------------------

    def save(self, folder: Path, owners: Owners, report: dict[str, Any]) -> None:
        """Write the heads as safetensors and JSON; raises `OutputError` where something stands."""
        state = {name: tensor.contiguous() for name, tensor in sorted(self.state_dict().items())}
        content = tensors_as_bytes(state)
        config = {
            "format": FORMAT,
            "shape": asdict(self.shape),
            "owners": asdict(owners),
            "report": report,
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        with new_folder(folder) as temporary:
            (temporary / TENSORS).write_bytes(content)
            text = json.dumps(config | {"checksum": json_checksum(config)}, indent=1)
            (temporary / CONFIG).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, owners: Owners) -> ValueHeads:
        """Read saved heads; raises `ModelError` where they are damaged or of other owners."""
        try:
            config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
            content = (folder / TENSORS).read_bytes()
            whole = config.pop("checksum") == json_checksum(config)
            whole = whole and config["sha256"] == hashlib.sha256(content).hexdigest()
        except FileNotFoundError as error:
            raise ModelError(
                f"no values in {folder}: expected {CONFIG} and {TENSORS}; train them again"
            ) from error
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(f"the values in {folder} are damaged: {error!r}") from error
        if not whole:
            raise ModelError(f"the values in {folder} are damaged: a checksum differs; train again")
        if config["format"] > FORMAT:
            raise ModelError(f"the values in {folder} are of a newer format: upgrade palate")
        _check_owners(folder, Owners(**config["owners"]), owners)
        heads = cls(build(HeadsShape, config["shape"]))
        try:
            heads.load_state_dict(load_tensors(content))
        except (RuntimeError, SafetensorError) as error:
            raise ModelError(f"the values in {folder} are damaged: {error}") from error
        return heads.eval().requires_grad_(False)


def _standardised(hidden: Tensor) -> Tensor:
    return F.layer_norm(hidden.float(), hidden.shape[-1:])


def _check_owners(folder: Path, found: Owners, expected: Owners) -> None:
    for name in ("policy", "model"):
        own, other = getattr(found, name), getattr(expected, name)
        if own != other:
            raise ModelError(
                f"the values in {folder} belong to {name} {own[:12]}, this is {other[:12]}: train "
                "values for it"
            )
