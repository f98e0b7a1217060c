"""Value-augmented sampling as a logits processor of vLLM's v1 engine, written to its interface.

vLLM conflicts with this package's other libraries, so that it was never run here: the class is
tested against a stand-in of the interface alone, vllm.v1.sample.logits_processor of vLLM 0.10 and
later. `update_state` hears of requests that came, went or moved within the batch, `apply` moves the
logits (n, V), `is_argmax_invariant` says that a greedy answer may change. Since 0.32 that is the
interface of vLLM's older runner (VLLM_USE_V2_MODEL_RUNNER=0); the newer runner has another one.

That interface does not pass hidden states. `keep_states` takes them where vLLM's models hand them
to their module `logits_processor`; call it on the worker's model once it is loaded:

    processors = [values_processor(LogitsProcessor, heads, embedding, states := States())]
    keep_states(model, states)

A request carries its user's weights as SamplingParams(extra_args={"palate_weights": [...]}); one
without is left alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from palate.alignment.value_sampling import SteeringSettings, steer
from palate.alignment.values import ValueHeads
from palate.errors import DataError

#: Where a request carries its user's weights.
WEIGHTS = "palate_weights"


@dataclass
class States:
    """The hidden states (n, D) that the next logits (n, V) are made of."""

    last: Tensor | None = None


def keep_states(model: Any, states: States) -> Any:  # noqa: ANN401
    """Fill `states` at each step of a model of vLLM; returns the hook, whose `remove` ends it."""

    def keep(_: Any, inputs: tuple[Any, ...]) -> None:  # noqa: ANN401
        states.last = inputs[1]  # after the head, forward(lm_head, hidden_states, ...)

    return model.logits_processor.register_forward_pre_hook(keep)


def values_processor(
    base: type,
    heads: ValueHeads,
    embedding: Tensor,
    states: States,
    settings: SteeringSettings | None = None,
) -> type:
    """A class for vLLM's `logits_processors`; base is its `LogitsProcessor`, embedding (V, D)."""
    chosen = settings or SteeringSettings()

    class Values(base):  # type: ignore[misc]
        """Moves the rows whose requests carry weights."""

        def __init__(self, vllm_config: Any, device: Any, is_pin_memory: bool) -> None:  # noqa: ANN401
            del vllm_config, is_pin_memory
            self.heads = heads.to(device)
            with torch.inference_mode():
                self.keys = self.heads.keys(embedding.to(device))
            self.weights: dict[int, Tensor] = {}

        @classmethod
        def validate_params(cls, params: Any) -> None:  # noqa: ANN401
            """Refuse weights that are none of this model's, by the engine's own error."""
            try:
                _weights_of(params, heads.shape.bases)
            except DataError as error:
                raise ValueError(str(error)) from error

        def is_argmax_invariant(self) -> bool:
            """The likeliest token may be another: also greedy requests need it."""
            return False

        def update_state(self, batch_update: Any) -> None:  # noqa: ANN401
            """Follow the rows of the batch: removed, then added, then moved."""
            if batch_update is None:
                return
            for row in batch_update.removed:
                self.weights.pop(row, None)
            for row, params, *_ in batch_update.added:
                self._put(row, _weights_of(params, heads.shape.bases))
            for one, other, how in batch_update.moved:
                first, second = self.weights.pop(one, None), self.weights.pop(other, None)
                self._put(other, first)
                if getattr(how, "name", how) == "SWAP":
                    self._put(one, second)

        def apply(self, logits: Tensor) -> Tensor:
            """Logits (n, V) with the values of the rows that have weights."""
            if not self.weights:
                return logits
            if states.last is None or len(states.last) != len(logits):
                seen = "none" if states.last is None else len(states.last)
                raise DataError(
                    f"hidden states of {seen} rows for {len(logits)} rows of logits: call "
                    "keep_states on the worker's model, and turn speculative decoding off"
                )
            rows = sorted(self.weights)
            weights = torch.stack([self.weights[row] for row in rows]).to(logits.device)
            hidden = states.last[rows]
            logits[rows] = steer(logits[rows], hidden, self.heads, weights, self.keys, chosen)
            return logits

        def _put(self, row: int, weights: Tensor | None) -> None:
            self.weights.pop(row, None)
            if weights is not None:
                self.weights[row] = weights

    return Values


def _weights_of(params: Any, bases: int) -> Tensor | None:  # noqa: ANN401
    """(K,) the weights that a request carries, None where it has none."""
    given = (getattr(params, "extra_args", None) or {}).get(WEIGHTS)
    if given is None:
        return None
    try:
        weights = torch.tensor(given, dtype=torch.float32)
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{WEIGHTS} is no list of numbers: {error}") from error
    if weights.shape != (bases,) or not bool(weights.isfinite().all()):
        raise DataError(f"{WEIGHTS} is {tuple(weights.shape)}; expected {bases} finite numbers")
    return weights
