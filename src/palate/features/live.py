"""A backbone whose weights may move: token ids to hidden states, with their gradient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from palate.errors import BackboneError
from palate.features.backbone import check_finite, hidden_states, pool
from palate.features.batches import TOKEN_BUDGET, pad
from palate.features.loading import best_device, load
from palate.features.prefixes import SharedBatch, lay_out, share_prefixes
from palate.features.rendering import Renderer, TextPair
from palate.features.spec import BackboneSpec, Dtype, LocalBackbone, fast_dtype
from palate.types import Text

#: Rows with a shared prefix are no longer than this: attention grows with their square.
ROW_TOKENS = 1024


@dataclass(frozen=True)
class LowRank:
    """LoRA's settings: rank, alpha and dropout; the seed of its start."""

    rank: int
    alpha: float
    dropout: float
    seed: int = 0


@dataclass(frozen=True)
class Tokens:
    """Texts as token ids, cut to the model's length, and the number of each one's prompt."""

    ids: list[list[int]]
    prompt: list[int]
    truncated: int

    def take(self, places: Sequence[int]) -> Tokens:
        """Some of the texts, in that order."""
        return Tokens([self.ids[i] for i in places], [self.prompt[i] for i in places], 0)


class LiveBackbone(nn.Module):
    """Weights in float32 on the best device; what no loss reaches is held still."""

    def __init__(
        self,
        local: LocalBackbone,
        *,
        lora: LowRank | None = None,
        dropout: float | None = 0.0,
        checkpointing: bool = False,
        packing: bool | None = None,
        precision: Dtype | None = None,
        tokens_per_batch: int | None = None,
        device: str | None = None,
    ) -> None:
        super().__init__()
        self.spec = replace(local.spec, dtype="float32")
        device = device or best_device()
        self.tokenizer, model = load(LocalBackbone(self.spec, local.folder), device)
        self.renderer = Renderer(self.spec, self.tokenizer)
        self.tokens_per_batch = tokens_per_batch or TOKEN_BUDGET[torch.device(device).type]
        self.narrow = (precision or fast_dtype()) == "bfloat16"
        self.packing = can_pack(self.spec, model.config) if packing is None else packing
        if packing and not can_pack(self.spec, model.config):
            raise BackboneError(
                f"backbone {self.spec.name!r} cannot be packed: expected a causal model pooled at "
                "its last token whose layers all read the whole text; leave packing open"
            )
        if device == "cpu":  # the gradient of its fused attention takes four times the products'
            model.set_attn_implementation("eager")
        for name, parameter in model.named_parameters():
            parameter.requires_grad_("pooler." not in name)
        if dropout is not None:
            _set_dropout(model, dropout)
        if checkpointing:
            model.config.use_cache = False
            enable = getattr(model, "activation_checkpointing_enable", None)
            (enable or model.gradient_checkpointing_enable)({"use_reentrant": False})
        self.model: Any = model if lora is None else _with_lora(model, lora)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def tokenize(self, texts: Sequence[TextPair], prompts: Sequence[Text] = ()) -> Tokens:
        """Prompts with responses, then prompts by themselves, as what the model reads: cut on the
        left where they are too long.
        """
        rendered = [self.renderer.render(*pair) for pair in texts]
        rendered += [self.renderer.render_prompt(prompt) for prompt in prompts]
        ids = self.renderer.tokenize(rendered)
        number: dict[Text, int] = {}
        asked = [*(prompt for prompt, _ in texts), *prompts]
        return Tokens(
            ids=[self.renderer.cut(row) for row in ids],
            prompt=[number.setdefault(prompt, len(number)) for prompt in asked],
            truncated=sum(len(row) > self.spec.max_tokens for row in ids),
        )

    def forward(self, tokens: Tokens) -> Tensor:
        """Hidden states (n, D) of n texts, in float32 and in their order, on the model's device."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.narrow):
            return self._forward(tokens)

    def _forward(self, tokens: Tokens) -> Tensor:
        parts: list[Tensor] = []
        places: list[int] = []
        for batch in self._batches(tokens):
            hidden = self._shared(batch) if isinstance(batch, SharedBatch) else self._padded(*batch)
            parts.append(hidden)
            places += batch.places if isinstance(batch, SharedBatch) else batch[1]
        order = torch.empty(len(places), dtype=torch.long)
        order[places] = torch.arange(len(places))
        return torch.cat(parts)[order.to(parts[0].device)]

    def _batches(self, tokens: Tokens) -> list[Any]:
        """Texts of like length together, under the token budget, longest first."""
        if self.packing:
            row_tokens = min(ROW_TOKENS, self.tokens_per_batch)
            rows = share_prefixes(tokens.ids, tokens.prompt, row_tokens)
            return [lay_out(part) for part in _split(rows, self.tokens_per_batch)]
        order = sorted(range(len(tokens.ids)), key=lambda i: -len(tokens.ids[i]))
        batches = _split([(i, tokens.ids[i]) for i in order], self.tokens_per_batch, of=_ids)
        return [([ids for _, ids in part], [i for i, _ in part]) for part in batches]

    def _padded(self, ids: list[list[int]], places: list[int]) -> Tensor:
        del places
        batch, mask = pad(ids, most=self.spec.max_tokens)
        batch, mask = batch.to(self.device), mask.to(self.device)
        hidden = hidden_states(self.model, self.spec, batch, mask)
        return self._finished(pool(hidden.float(), mask, self.spec.pooling))

    def _shared(self, batch: SharedBatch) -> Tensor:
        hidden = self.model(
            input_ids=batch.ids.to(self.device),
            position_ids=batch.positions.to(self.device),
            attention_mask=self._mask(batch.reads.to(self.device)),
            use_cache=False,
        ).last_hidden_state
        return self._finished(hidden[batch.row, batch.last].float())

    def _mask(self, reads: Tensor) -> Tensor:
        """What a token reads, as fused attention takes it, or added to the logits."""
        if self.model.config._attn_implementation == "sdpa":
            return reads
        least = torch.finfo(torch.float32).min
        return torch.zeros(reads.shape, device=reads.device).masked_fill(~reads, least)

    def _finished(self, pooled: Tensor) -> Tensor:
        if self.spec.normalise:
            pooled = torch.nn.functional.normalize(pooled, dim=-1)
        if not torch.is_grad_enabled():
            check_finite(pooled, self.spec, "hidden states")
        return pooled

    def save(self, folder: Path, weights: Mapping[str, Tensor] | None = None) -> None:
        """Write model and tokenizer in transformers' format; of LoRA, the additions merged in.

        weights: the whole ones, where this process holds a part of them.
        """
        model = self.model
        if hasattr(model, "merge_and_unload"):
            model = deepcopy(model)
            if weights is not None:
                model.load_state_dict(_of_model(weights))
                weights = None
            model = model.merge_and_unload()
        state = None if weights is None else _of_model(weights)
        model.save_pretrained(folder, state_dict=state)
        self.tokenizer.save_pretrained(folder)


def _of_model(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """By their names in the model inside."""
    return {name.removeprefix("model."): tensor for name, tensor in weights.items()}


def can_pack(spec: BackboneSpec, config: Any) -> bool:  # noqa: ANN401
    """Whether texts can share a row: causal models none of whose layers slides a window."""
    layers = getattr(config, "layer_types", None) or ["full_attention"]
    whole = set(layers) == {"full_attention"}
    whole = whole and config._attn_implementation in ("sdpa", "eager")
    return spec.kind == "causal" and spec.pooling == "last" and whole


def _set_dropout(model: Any, rate: float) -> None:  # noqa: ANN401 - transformers'
    """One rate for every layer, those that attention drops by its own hand too."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = rate
        if isinstance(getattr(module, "attention_dropout", None), float):
            module.attention_dropout = rate


def _with_lora(model: Any, lora: LowRank) -> Any:  # noqa: ANN401 - transformers' and PEFT's
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise BackboneError("LoRA needs an extra: pip install 'palate[train]'") from error
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]
        lora_dropout=lora.dropout,
        target_modules="all-linear",
        exclude_modules=".*pooler.*" if hasattr(model, "pooler") else None,
    )
    with torch.random.fork_rng():
        torch.manual_seed(lora.seed)
        return get_peft_model(model, config)


def _ids(item: tuple[int, list[int]]) -> int:
    return len(item[1])


def _split(items: Sequence[Any], budget: int, of: Any = len) -> list[list[Any]]:  # noqa: ANN401
    """Consecutive items, longest first, in batches of at most `budget` tokens when padded."""
    batches, start = [], 0
    while start < len(items):
        size = max(budget // of(items[start]), 1)
        batches.append(list(items[start : start + size]))
        start += size
    return batches
