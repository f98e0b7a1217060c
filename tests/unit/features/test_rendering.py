"""What is read of prompts and responses, string by string and token by token."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from palate.errors import BackboneError
from palate.features.backbone import Backbone
from palate.types import Message
from tests.unit.features.conftest import Folder
from tests.unit.features.models import (
    CHAT_TEMPLATE,
    OPENING_TEMPLATE,
    PAIRS,
    POSITIONS,
    SPECIAL_TOKENS,
    encode,
    hidden_states,
    naive_pool,
)

Load = Callable[..., Backbone]
CAUSAL = ["qwen3", "llama"]
TURNS = (Message("user", "name a fish"), Message("assistant", "trout"), Message("user", "why ?"))


@pytest.mark.parametrize(
    ("kind", "chat", "prompt", "expected"),
    [
        ("bert", False, "name a fish", "name a fish\n\nit is"),
        ("bert", True, "name a fish", "name a fish\n\nit is"),
        ("bert", False, TURNS[:1], "name a fish\n\nit is"),
        ("bert", False, TURNS, "user: name a fish\n\nassistant: trout\n\nuser: why ?\n\nit is"),
        ("llama", False, "name a fish", "name a fish\n\nit is<end>"),
        ("llama", True, "name a fish", "<start>user name a fish <end><start>assistant it is <end>"),
        (
            "llama",
            True,
            TURNS,
            "<start>user name a fish <end><start>assistant trout <end>"
            "<start>user why ? <end><start>assistant it is <end>",
        ),
    ],
)
def test_texts_are_rendered_by_the_chat_template_else_joined(
    folder: Folder, backbone: Load, kind: str, chat: bool, prompt: Any, expected: str
) -> None:
    loaded = backbone(folder(kind, chat=chat))
    assert loaded.renderer.render(prompt, "it is") == expected
    assert loaded.renderer.render(prompt, (Message("assistant", "it is"),)) == expected


def test_a_templated_text_gets_no_special_tokens_twice(folder: Folder, backbone: Load) -> None:
    loaded = backbone(folder("llama", chat=True))
    (ids,) = loaded.renderer.tokenize([loaded.renderer.render("name a fish", "trout")])
    words = " ".join(loaded.renderer.tokenizer.convert_ids_to_tokens(ids))
    assert words == "<start> user name a fish <end> <start> assistant trout <end>"


def test_a_template_that_refuses_says_so(folder: Folder, backbone: Load) -> None:
    loaded = backbone(folder("llama", chat=True))
    loaded.renderer.tokenizer.chat_template = (
        "{{ raise_exception('only users speak') }}" + CHAT_TEMPLATE
    )
    with pytest.raises(BackboneError, match=r"refuses turns of user, assistant: only users speak"):
        loaded.renderer.render("name a fish", "trout")


@pytest.mark.parametrize("kind", ["bert", *CAUSAL])
def test_long_texts_lose_their_beginning_but_no_leading_special_token(
    folder: Folder, backbone: Load, kind: str
) -> None:
    loaded = backbone(folder(kind), max_tokens=8)
    (whole,) = loaded.renderer.tokenize([loaded.renderer.render(*PAIRS[0])])
    leading = whole[:1] if kind in SPECIAL_TOKENS else []
    cut = loaded.renderer.cut(whole)
    assert cut == leading + whole[-(8 - len(leading)) :]
    assert loaded.renderer.tokenizer.convert_ids_to_tokens(cut)[-2:] == [".", "<end>"]
    assert loaded.renderer.cut(whole[:8]) == whole[:8]
    (chunk,) = loaded.encode(PAIRS[:1])
    assert chunk.tokens.tolist() == [len(whole)]
    states = hidden_states(folder(kind), loaded.renderer.tokenizer.decode(cut), special=False)
    expected = naive_pool(states, loaded.spec.pooling)
    np.testing.assert_allclose(chunk.vectors[0], expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_a_text_as_long_as_the_positions_is_read(folder: Folder, backbone: Load, kind: str) -> None:
    loaded = backbone(folder(kind))
    assert loaded.spec.max_tokens == POSITIONS
    found = encode(loaded, [("name " * length, "trout") for length in (POSITIONS - 9, 5000)])
    assert np.isfinite(found).all()


def test_a_text_without_a_single_token_is_refused(folder: Folder, backbone: Load) -> None:
    loaded = backbone(folder("qwen3"))
    loaded.renderer.tokenizer.eos_token = None
    with pytest.raises(BackboneError, match=r"no token for any of '\\n\\n'"):
        encode(loaded, [*PAIRS, ("", "")])


# -- prompts by themselves, and what comes after them ----------------------------------------------


@pytest.mark.parametrize(
    ("kind", "template", "prompt", "expected"),
    [
        ("bert", OPENING_TEMPLATE, "name a fish", "name a fish"),
        ("llama", None, "name a fish", "name a fish"),
        ("llama", None, TURNS[:1], "name a fish"),
        ("llama", CHAT_TEMPLATE, "name a fish", "<start>user name a fish <end>"),
        (
            "llama",
            OPENING_TEMPLATE,
            TURNS[:1],
            "<start>user name a fish <end><start>assistant no thought ",
        ),
    ],
)
def test_a_prompt_by_itself_ends_where_its_answer_would_begin(
    folder: Folder, backbone: Load, kind: str, template: str | None, prompt: Any, expected: str
) -> None:
    loaded = backbone(folder(kind))
    loaded.renderer.tokenizer.chat_template = template
    assert loaded.renderer.render_prompt(prompt) == expected
    (chunk,) = loaded.encode_prompts([prompt])
    templated = kind == "llama" and template is not None
    states = hidden_states(folder(kind), expected, special=not templated)
    np.testing.assert_allclose(chunk.vectors[0], naive_pool(states, loaded.spec.pooling), atol=1e-5)


@pytest.mark.parametrize("prompt", ["name a fish", TURNS])
@pytest.mark.parametrize("template", [None, CHAT_TEMPLATE, OPENING_TEMPLATE])
def test_what_is_divided_is_what_is_read(
    folder: Folder, backbone: Load, template: str | None, prompt: Any
) -> None:
    renderer = backbone(folder("qwen3")).renderer
    renderer.tokenizer.chat_template = template
    before, response = renderer.divide(prompt, "it is")
    assert before + response == renderer.render(prompt, "it is")
    assert "why ?" in before or "name a fish" in before
    assert "it is" not in before
    (ids,) = renderer.tokenize_divided([(before, response)])
    assert [ids[0] + ids[1]] == renderer.tokenize([before + response])


def test_a_template_that_opens_otherwise_than_it_renders_scores_the_plain_text(
    folder: Folder, backbone: Load
) -> None:
    renderer = backbone(folder("qwen3")).renderer
    opening = "{% if add_generation_prompt %}<start>assistant think{% endif %}"
    renderer.tokenizer.chat_template = CHAT_TEMPLATE + opening
    assert renderer.divide("why", (Message("assistant", "it is"),)) == (
        "<start>user why <end><start>assistant think",
        "it is<end>",
    )


@pytest.mark.parametrize(("kind", "leading"), [("llama", ["<start>"]), ("qwen3", [])])
def test_special_tokens_stand_before_the_prompt_alone(
    folder: Folder, backbone: Load, kind: str, leading: list[str]
) -> None:
    from tokenizers.processors import TemplateProcessing

    renderer = backbone(folder(kind)).renderer
    tokenizer = renderer.tokenizer
    if kind == "llama":  # as tokenizers of embedding models do, which end every text
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
            single="<start> $A <end>", special_tokens=[("<start>", 0), ("<end>", 1)]
        )
    divided = [renderer.divide("name a fish", "trout"), renderer.divide("", "")]
    words = [
        tuple(tokenizer.convert_ids_to_tokens(part) for part in parts)
        for parts in renderer.tokenize_divided(divided)
    ]
    assert words == [
        ([*leading, "name", "a", "fish"], ["trout", "<end>"]),
        (leading, ["<end>"]),
    ]
    tokenizer.eos_token = None
    with pytest.raises(BackboneError, match="no token for any of ''"):
        renderer.tokenize_divided([renderer.divide("name a fish", "")])
