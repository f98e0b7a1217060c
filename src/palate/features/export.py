"""A causal backbone with linear bases as a stock `*ForSequenceClassification` of transformers.

An unmodified server (vLLM, SGLang, text-embeddings-inference) then gives the K basis rewards of a
text as the scores of K labels. The stock head has no bias: its scores are the basis rewards up to
one constant a basis, which no comparison of answers sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from palate.errors import CannotRunError
from palate.features.loading import load_tokenizer
from palate.features.spec import LocalBackbone

#: Padding of its own: stock pooling takes the last token that is not padding, so that padding with
#: the token that ends a text would take the one before it.
PADDING = "<|palate padding|>"


def export_classifier(
    local: LocalBackbone, head: Tensor, names: Sequence[str], folder: Path
) -> None:
    """Write model and tokenizer with a head (K, D) over hidden states.

    Raises `CannotRunError` for an encoder or another pooling than the last token's.
    """
    spec = local.spec
    if spec.kind != "causal" or spec.pooling != "last" or spec.normalise:
        raise CannotRunError(
            f"backbone {spec.name!r} cannot be exported: expected a causal model read at its last "
            "token, which stock classifiers are"
        )
    from transformers import AutoModelForSequenceClassification

    tokenizer = load_tokenizer(local)
    model: Any = AutoModelForSequenceClassification.from_pretrained(
        local.folder,
        num_labels=len(names),
        id2label=dict(enumerate(names)),
        label2id={name: i for i, name in enumerate(names)},
        problem_type="regression",
        dtype="auto",
        use_safetensors=True,
        trust_remote_code=False,
    )
    tokenizer.add_special_tokens({"pad_token": PADDING})
    if len(tokenizer) > model.get_input_embeddings().weight.shape[0]:
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    model.config.pad_token_id = tokenizer.pad_token_id
    tokenizer.model_max_length, tokenizer.truncation_side = spec.max_tokens, "left"
    with torch.no_grad():
        model.score.weight.copy_(head)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
