"""What a model's own files say of it: its kind, its pooling, how many tokens it reads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from palate.errors import BackboneError

Kind = Literal["encoder", "causal"]
Pooling = Literal["mean", "cls", "last"]

#: Tokens read where a model names no limit of its own, and the most of a causal model by default.
DEFAULT_MAX_TOKENS = 1024
#: More tokens than any model reads.
NO_LIMIT = 2**31
#: Suffixes of the files that decide a model's hidden states.
MODEL_FILES = (".json", ".safetensors", ".txt", ".model", ".jinja")
#: Names of the modes in sentence-transformers' files, from version 6 on and before.
POOLING_MODES: dict[str, Pooling] = {"mean": "mean", "cls": "cls", "lasttoken": "last"}
OLD_POOLING_MODES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_lasttoken": "lasttoken",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
}
#: Families whose positions start behind the padding's, so that the last ones cannot be used.
POSITIONS_BEHIND_PADDING = ("roberta", "camembert", "mpnet", "data2vec-text", "longformer")


def read_config(folder: Path) -> dict[str, Any]:
    """The model's config.json."""
    return _read_object(folder / "config.json")


def kind_of(folder: Path, config: Mapping[str, Any]) -> Kind:
    """A causal model, read by chat template up to its last token, or an encoder of plain text.

    sentence-transformers' models are encoders whatever their architecture. Grouped-query attention
    tells decoders that were saved without a language model's head, such as reward models.
    """
    if config.get("is_encoder_decoder"):
        raise BackboneError(
            f"backbone {folder} is an encoder-decoder: expected an encoder or a causal model"
        )
    if _modules(folder):
        return "encoder"
    architecture = str((config.get("architectures") or [""])[0])
    if any(part in architecture for part in ("CausalLM", "LMHead", "ConditionalGeneration")):
        return "causal"
    grouped = "num_key_value_heads" in config and "MaskedLM" not in architecture
    return "causal" if grouped else "encoder"


def pooling_of(folder: Path, kind: Kind) -> tuple[Pooling | str, bool]:
    """Pooling, and whether vectors are normalised, by sentence-transformers' module files.

    Without them the last token of a causal model, else the mean. What follows the pooling but
    normalisation (a dense layer) is not read: features are the model's hidden states.
    """
    modules = _modules(folder)
    if not modules:
        return ("last" if kind == "causal" else "mean"), False
    normalise = any(module["type"].endswith("Normalize") for module in modules)
    pooling = next((m for m in modules if m["type"].endswith("Pooling")), None)
    settings = _read_object(folder / pooling["path"] / "config.json") if pooling else {}
    declared = settings.get("pooling_mode") or [
        mode for name, mode in OLD_POOLING_MODES.items() if settings.get(name)
    ]
    modes = [declared] if isinstance(declared, str) else list(declared) or ["mean"]
    mode = "+".join(map(str, modes))
    return POOLING_MODES.get(mode, mode), normalise


def max_positions(config: Mapping[str, Any]) -> int | None:
    """Tokens that the model has positions for, where it says so."""
    positions = config.get("max_position_embeddings") or config.get("n_positions")
    if not isinstance(positions, int) or positions < 1:
        return None
    family = str(config.get("model_type"))
    if not any(name in family for name in POSITIONS_BEHIND_PADDING):
        return positions
    padding = config.get("pad_token_id")
    return positions - (padding + 1 if isinstance(padding, int) else 2)


def max_tokens_of(folder: Path, config: Mapping[str, Any]) -> int:
    """The limit that sentence-transformers' files name, else the tokenizer's, else a default."""
    sentence = _read_object(folder / "sentence_bert_config.json", optional=True)
    tokenizer = _read_object(folder / "tokenizer_config.json", optional=True)
    default = min(_limit(tokenizer.get("model_max_length")), DEFAULT_MAX_TOKENS)
    return min(_limit(sentence.get("max_seq_length"), default), max_positions(config) or NO_LIMIT)


def model_folders(folder: Path) -> list[Path]:
    """The folder itself and those of sentence-transformers' modules in it."""
    parts = {folder / module["path"] for module in _modules(folder)}
    return [folder, *sorted(part for part in parts - {folder} if part.is_dir())]


def is_model_file(path: Path) -> bool:
    """Whether a file can change the hidden states."""
    return path.suffix in MODEL_FILES and path.is_file()


def _limit(value: object, default: int = NO_LIMIT) -> int:
    """A limit where it is one: transformers writes 1e30 for none."""
    return int(value) if isinstance(value, int | float) and 0 < value < NO_LIMIT else default


def _modules(folder: Path) -> list[dict[str, str]]:
    path = folder / "modules.json"
    if not path.is_file():
        return []
    modules = _read(path)
    if not isinstance(modules, list) or not all(_is_module(module) for module in modules):
        raise BackboneError(f"backbone file {path} is damaged: expected sentence-transformers'")
    return modules


def _is_module(module: Any) -> bool:  # noqa: ANN401 - what JSON may hold
    return isinstance(module, dict) and all(
        isinstance(module.get(name), str) for name in ("type", "path")
    )


def _read_object(path: Path, *, optional: bool = False) -> dict[str, Any]:
    if optional and not path.is_file():
        return {}
    content = _read(path)
    if not isinstance(content, dict):
        raise BackboneError(f"backbone file {path} is damaged: expected a JSON object")
    return content


def _read(path: Path) -> Any:  # noqa: ANN401 - what JSON may hold
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BackboneError(f"backbone file {path} cannot be read: {error}") from error
