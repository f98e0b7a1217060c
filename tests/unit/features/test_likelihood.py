"""Log-likelihoods of responses against one forward pass a token through plain transformers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from palate.errors import BackboneError, CannotRunError
from palate.features import resolve_backbone
from palate.features.likelihood import Continuation, Likelihood
from palate.features.rendering import TextPair
from palate.types import Message
from tests.unit.features.conftest import Folder
from tests.unit.features.models import (
    OPENING_TEMPLATE,
    PADDINGS,
    PAIRS,
    in_order,
    log_likelihood,
    make_model,
    make_tokenizer,
)

#: What the tokenizer puts before a text.
LEADING = {"qwen3": None, "llama": "<start>"}
MANY: list[TextPair] = [
    (f"{prompt} {'fish ' * i}", response) for i in range(5) for prompt, response in PAIRS
]


def likelihood(path: Path, **settings: Any) -> Likelihood:
    return Likelihood(resolve_backbone(str(path), dtype="float32", **settings), device="cpu")


def score(model: Likelihood, texts: Sequence[TextPair]) -> list[float]:
    found = in_order(list(model.score(texts)))
    assert found.shape == (len(texts), 1)
    assert found.dtype == np.float32
    return [float(value) for value in found[:, 0]]


@pytest.mark.parametrize("kind", ["qwen3", "llama"])
def test_a_plain_text_is_scored_token_by_token_after_its_prompt(folder: Folder, kind: str) -> None:
    path = folder(kind)
    expected = [
        log_likelihood(path, f"{prompt}\n\n", f"{response}<end>", special=LEADING[kind])
        for prompt, response in PAIRS
    ]
    np.testing.assert_allclose(score(likelihood(path), PAIRS), expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["qwen3", "llama"])
def test_under_a_template_what_it_renders_after_the_prompt_is_scored(
    folder: Folder, kind: str
) -> None:
    path = folder(kind, chat=True)
    loaded = likelihood(path)
    loaded.renderer.tokenizer.chat_template = OPENING_TEMPLATE
    expected = [
        log_likelihood(
            path,
            f"<start>user {prompt} <end><start>assistant no thought ",
            f"{response} <end>",
            special=None,
        )
        for prompt, response in PAIRS
    ]
    np.testing.assert_allclose(score(loaded, PAIRS), expected, atol=1e-5)


def test_conversations_are_scored_as_what_they_say(folder: Folder) -> None:
    path = folder("qwen3", chat=True)
    loaded = likelihood(path)
    loaded.renderer.tokenizer.chat_template = OPENING_TEMPLATE
    turns = (Message("user", "name a fish"), Message("assistant", "trout"), Message("user", "why"))
    answers = (Message("assistant", "it is"), Message("user", "why"), Message("assistant", "red"))
    asked = "<start>user name a fish <end><start>assistant trout <end><start>user why <end>"
    expected = log_likelihood(
        path, f"{asked}<start>assistant no thought ", "it is <end>", special=None
    )
    assert score(loaded, [(turns, "it is")]) == pytest.approx([expected], abs=1e-5)
    assert score(loaded, [(turns, answers[:1])]) == pytest.approx([expected], abs=1e-5)
    loaded.renderer.tokenizer.chat_template = None
    longer = log_likelihood(
        path,
        "user: name a fish\n\nassistant: trout\n\nuser: why\n\n",
        "assistant: it is\n\nuser: why\n\nassistant: red<end>",
        special=None,
    )
    assert score(loaded, [(turns, answers)]) == pytest.approx([longer], abs=1e-5)


def test_batches_padding_company_and_chunks_of_logits_do_not_matter(folder: Folder) -> None:
    expected = score(likelihood(folder("llama")), MANY)
    assert np.ptp(expected) > 0.01
    for padding in PADDINGS:
        for side in ("left", "right"):
            loaded = likelihood(folder("llama", pad=padding, side=side))
            np.testing.assert_allclose(score(loaded, MANY), expected, atol=1e-5)
    loaded.logit_budget = 1
    np.testing.assert_allclose(score(loaded, MANY), expected, atol=1e-5)
    loaded.batches.token_budget = loaded.batches.chunk_batches = 1
    np.testing.assert_allclose(score(loaded, MANY[::-1]), expected[::-1], atol=1e-5)
    assert list(loaded.score([])) == []


def test_bfloat16_is_near_float32(folder: Folder) -> None:
    local = resolve_backbone(str(folder("qwen3")), dtype="bfloat16")
    found = score(Likelihood(local, device="cpu"), PAIRS)
    expected = score(likelihood(folder("qwen3")), PAIRS)
    np.testing.assert_allclose(found, expected, rtol=0.005)
    assert found != expected


def test_no_logits_are_made_but_those_of_responses_and_few_at_once(folder: Folder) -> None:
    loaded = likelihood(folder("qwen3"))
    head = loaded.model.get_output_embeddings()
    made: list[int] = []
    head.register_forward_hook(lambda _, __, logits: made.append(logits[..., 0].numel()))
    loaded.logit_budget = 5 * head.weight.shape[0]
    parts = loaded.renderer.tokenize_divided([loaded.renderer.divide(*pair) for pair in PAIRS])
    score(loaded, PAIRS)
    assert sum(made) == sum(len(response) for _, response in parts)
    assert max(made) == 5


# -- the limit -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["qwen3", "llama"])
def test_a_long_prompt_loses_its_beginning(folder: Folder, kind: str) -> None:
    limit, leading = 10, LEADING[kind]
    path = folder(kind)
    words = [word for pair in PAIRS[:4] for word in str(pair[0]).split()]
    (chunk,) = likelihood(path, max_tokens=limit).score([(" ".join(words), "name a trout")])
    assert chunk.tokens.tolist() == [len(words) + 4 + (leading is not None)]
    kept = words[-(limit - 4 - (leading is not None)) :]
    expected = log_likelihood(path, " ".join(kept), "name a trout<end>", special=leading)
    np.testing.assert_allclose(chunk.vectors, [[expected]], atol=1e-5)


@pytest.mark.parametrize(("kind", "before"), [("qwen3", "air"), ("llama", "<start>")])
def test_a_response_beyond_the_limit_loses_its_beginning_and_counts_as_longer(
    folder: Folder, kind: str, before: str
) -> None:
    path = folder(kind)
    (chunk,) = likelihood(path, max_tokens=6).score([("a fish", "red blue air name a fish trout")])
    assert chunk.tokens > 6
    # a model that puts nothing before a text reads one token of it that is not scored
    expected = log_likelihood(path, "", "name a fish trout <end>", special=before)
    np.testing.assert_allclose(chunk.vectors, [[expected]], atol=1e-5)


def test_what_is_scored_never_leaves_the_response(folder: Folder) -> None:
    loaded = likelihood(folder("qwen3"), max_tokens=6)
    assert loaded.join([4, 5], [6, 7, 8]) == Continuation([4, 5, 6, 7, 8], 3)
    assert loaded.join([4, 5, 9, 9], [6, 7, 8]) == Continuation([5, 9, 9, 6, 7, 8], 3)
    start = loaded.renderer.tokenizer.bos_token_id
    assert loaded.join([start, 5, 9], [6, 7, 8, 9]) == Continuation([start, 9, 6, 7, 8, 9], 4)
    assert loaded.join([4], [5, 6, 7, 8, 9, 10, 11]) == Continuation([6, 7, 8, 9, 10, 11], 5)
    assert loaded.join([], [6, 7]) == Continuation([6, 7], 1)
    with pytest.raises(BackboneError, match="a response of one token has no likelihood"):
        loaded.join([], [6])


# -- what has no likelihood ------------------------------------------------------------------------


def test_an_encoder_is_refused_before_it_is_loaded(folder: Folder) -> None:
    with pytest.raises(CannotRunError, match=r"is an encoder and has no likelihood of a text: a c"):
        likelihood(folder("bert"))


def saved(path: Path, model: Any) -> Path:
    make_tokenizer("qwen3").save_pretrained(path)
    model.save_pretrained(path)
    return path


def test_a_model_saved_without_its_head_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, make_model("qwen3", head=False))
    with pytest.raises(CannotRunError, match="was saved without its language-model head"):
        likelihood(path)


def test_weights_that_are_missing_beside_the_head_are_damage(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    file = saved(tmp_path, make_model("qwen3")) / "model.safetensors"
    weights = load_file(file)
    lost = ("lm_head.weight", "model.norm.weight")
    left = {name: weight for name, weight in weights.items() if name not in lost}
    save_file(left, file, {"format": "pt"})
    with pytest.raises(BackboneError, match="damaged: its files lack 2 weights"):
        likelihood(tmp_path)


def test_likelihoods_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    model = make_model("qwen3")
    model.lm_head.weight.data[9] = torch.nan
    loaded = likelihood(saved(tmp_path, model))
    with pytest.raises(BackboneError, match="gives likelihoods that are no numbers"):
        score(loaded, PAIRS)


# -- families that make logits in ways of their own ------------------------------------------------


def family(name: str, **options: Any) -> Any:
    """A random causal model whose logits are large, so that what is done to them shows."""
    import transformers

    sizes: dict[str, Any] = {
        "vocab_size": 64,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 64,
        "pad_token_id": None,
        "initializer_range": 0.5,
    }
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**sizes, **options)
    return getattr(transformers, f"{name}ForCausalLM")(config)


FAMILIES: list[tuple[str, dict[str, Any]]] = [
    ("Gemma2", {"head_dim": 8, "final_logit_softcapping": 0.7}),
    ("Granite", {"logits_scaling": 5.0}),
    ("Cohere", {"logit_scale": 0.1}),
]


@pytest.mark.parametrize(("name", "options"), FAMILIES, ids=[name for name, _ in FAMILIES])
def test_scaled_and_bounded_logits_are_those_of_the_model(
    tmp_path: Path, name: str, options: dict[str, Any]
) -> None:
    path = saved(tmp_path, family(name, **options))
    expected = [log_likelihood(path, f"{x}\n\n", f"{y}<end>", special=None) for x, y in PAIRS]
    np.testing.assert_allclose(score(likelihood(path), PAIRS), expected, atol=1e-4)


def test_logits_made_in_an_unknown_way_are_refused(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import Qwen3ForCausalLM

    forward: Callable[..., Any] = Qwen3ForCausalLM.forward

    def scaled(*args: Any, **kwargs: Any) -> Any:
        output = forward(*args, **kwargs)
        output.logits = 1.1 * output.logits
        return output

    for name, value in [
        ("forward", scaled),
        ("base_model", property(lambda model: model)),
        ("get_output_embeddings", lambda model: None),
    ]:
        with monkeypatch.context() as patch:
            patch.setattr(Qwen3ForCausalLM, name, value)
            with pytest.raises(CannotRunError, match="its family, 'qwen3', makes logits in a way"):
                likelihood(folder("qwen3"))
