"""Tokenizer and model from a backbone's folder: whole, on a device, and without running its code.

Loading takes seconds: `FeatureSource` does it when a text is not in its cache.
"""

from __future__ import annotations

import os
from typing import Any

import torch

from palate.errors import BackboneError, CannotRunError
from palate.features.spec import LocalBackbone


def best_device() -> str:
    """The GPU where there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def load_tokenizer(local: LocalBackbone) -> Any:  # noqa: ANN401 - transformers'
    """The tokenizer alone."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(local.folder, trust_remote_code=False)


def load(local: LocalBackbone, device: str, *, head: bool = False) -> tuple[Any, Any]:
    """The tokenizer, and the model that gives hidden states; with a `head`, next tokens too.

    Raises `BackboneError` where the library is missing or a file is damaged, and `CannotRunError`
    where a causal model was saved without the head that is asked for.
    """
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    name = local.spec.name
    try:
        from transformers import AutoModel, AutoModelForCausalLM
        from transformers.utils import logging
    except ImportError as error:
        raise BackboneError(
            f"backbone {name!r} needs an extra: pip install 'palate[backbones]'"
        ) from error
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        tokenizer = load_tokenizer(local)
        kind: Any = AutoModelForCausalLM if head else AutoModel
        model, loaded = kind.from_pretrained(
            local.folder,
            dtype=getattr(torch, local.spec.dtype),
            use_safetensors=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    except Exception as error:  # of JSON, safetensors, tokenizers, torch: many kinds, one meaning
        raise BackboneError(f"backbone {name!r} cannot be loaded: {error}") from error
    _check_whole(name, model, loaded)
    return tokenizer, model.to(device).eval()


def _check_whole(name: str, model: Any, loaded: dict[str, Any]) -> None:  # noqa: ANN401
    """Refuse weights that no file holds: transformers draws them at random."""
    missing = set(loaded["missing_keys"])
    head = model.get_output_embeddings()
    of_head = tuple(f"{part}." for part, module in model.named_modules() if module is head)
    if missing and all(key.startswith(of_head) for key in missing):
        raise CannotRunError(
            f"backbone {name!r} was saved without its language-model head, so it has no "
            "likelihood of a text: choose a causal model that was saved with it"
        )
    lost = {*missing, *(key for key, *_ in loaded["mismatched_keys"])}
    # the pooler is none that we read
    if lost := {key for key in lost if not key.startswith("pooler.")}:
        raise BackboneError(
            f"backbone {name!r} is damaged: its files lack {len(lost)} weights or hold them in "
            f"another size than its config.json says, such as {min(lost)}"
        )
