"""Hidden states against one unpadded text at a time through plain transformers."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from palate.errors import BackboneError
from palate.features import resolve_backbone
from palate.features.backbone import Backbone, pad, pool
from palate.types import Message
from tests.unit.features.conftest import Folder
from tests.unit.features.models import (
    CHAT_TEMPLATE,
    PADDINGS,
    PAIRS,
    POSITIONS,
    SPECIAL_TOKENS,
    WIDTH,
    encode,
    hidden_states,
    make_model,
    make_tokenizer,
    naive_pool,
)

Load = Callable[..., Backbone]
CAUSAL = ["qwen3", "llama"]
MANY = [
    (f"{prompt} {word}", response) for prompt, response in PAIRS for word in ["why", "a", "the"]
]


@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
@pytest.mark.parametrize("kind", ["bert", *CAUSAL])
def test_hidden_states_are_those_of_one_unpadded_text_at_a_time(
    folder: Folder, backbone: Load, kind: str, pooling: str
) -> None:
    loaded = backbone(folder(kind), pooling=pooling)
    expected = [
        naive_pool(hidden_states(folder(kind), loaded.render(*pair)), pooling) for pair in PAIRS
    ]
    np.testing.assert_allclose(encode(loaded, PAIRS), expected, atol=1e-5)


@pytest.mark.parametrize("chat", [False, True])
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("kind", CAUSAL)
def test_a_causal_model_gives_its_last_real_token_on_either_side_of_padding(
    folder: Folder, backbone: Load, kind: str, padding: str | None, chat: bool
) -> None:
    left = backbone(folder(kind, pad=padding, chat=chat, side="left"))
    right = backbone(folder(kind, pad=padding, chat=chat, side="right"))
    assert (left.tokenizer.padding_side, right.tokenizer.padding_side) == ("left", "right")
    expected = [
        hidden_states(folder(kind, pad=padding), right.render(*pair), special=not chat)[-1]
        for pair in PAIRS
    ]
    for loaded in (left, right):
        np.testing.assert_allclose(encode(loaded, PAIRS), torch.stack(expected), atol=1e-5)


def test_the_last_token_is_the_end_of_the_text_even_where_that_is_the_padding(
    folder: Folder, backbone: Load
) -> None:
    loaded = backbone(folder("llama", pad="<end>"))
    rendered = loaded.render("name a fish", "trout")
    assert rendered == "name a fish\n\ntrout<end>"
    states = hidden_states(folder("llama", pad="<end>"), rendered)
    longer = encode(loaded, [("name a fish", "trout"), *PAIRS])[0]
    np.testing.assert_allclose(longer, states[-1], atol=1e-5)
    assert np.abs(longer - states[-2].numpy()).max() > 0.01


@pytest.mark.parametrize("kind", ["bert", "qwen3"])
def test_batches_order_and_company_do_not_matter(folder: Folder, backbone: Load, kind: str) -> None:
    loaded = backbone(folder(kind))
    whole = encode(loaded, MANY)
    shuffled = np.random.default_rng(0).permutation(len(MANY))
    np.testing.assert_allclose(
        encode(loaded, [MANY[i] for i in shuffled]), whole[shuffled], atol=1e-5
    )
    alone = np.concatenate([encode(loaded, [pair]) for pair in MANY])
    np.testing.assert_allclose(alone, whole, atol=1e-5)
    loaded.token_budget = 1
    np.testing.assert_allclose(encode(loaded, MANY), whole, atol=1e-5)
    loaded.chunk_batches = 1
    assert len(list(loaded.encode(MANY))) > 3
    np.testing.assert_allclose(encode(loaded, MANY), whole, atol=1e-5)


def test_chunks_hold_every_text_once_longest_first(folder: Folder, backbone: Load) -> None:
    loaded = backbone(folder("bert"))
    loaded.token_budget, loaded.chunk_batches = 8, 1
    chunks = list(loaded.encode(MANY))
    assert sorted(np.concatenate([chunk.places for chunk in chunks])) == list(range(len(MANY)))
    lengths = [[len(loaded.render(*MANY[i])) for i in chunk.places] for chunk in chunks]
    assert all(min(before) >= max(after) for before, after in pairwise(lengths))
    assert list(loaded.encode([])) == []


def test_threads_give_the_bytes_that_one_gives_and_are_put_back(
    folder: Folder, backbone: Load
) -> None:
    before = torch.get_num_threads()
    loaded = backbone(folder("bert"))
    loaded.token_budget, loaded.workers = 16, 1
    one = encode(loaded, MANY)
    seen = set()
    loaded.model.register_forward_pre_hook(lambda *_: seen.add(torch.get_num_threads()))
    try:
        torch.set_num_threads(3)
        assert backbone(folder("bert")).workers == 3
        loaded.workers = 3
        np.testing.assert_array_equal(encode(loaded, MANY), one)
        assert seen == {1}, "threads within threads"
        assert torch.get_num_threads() == 3
        with ThreadPoolExecutor() as pool:
            assert pool.submit(torch.get_num_threads).result() == 3
    finally:
        torch.set_num_threads(before)


@given(
    rows=st.lists(st.lists(st.integers(1, 99), min_size=1, max_size=40), min_size=1, max_size=6),
    most=st.integers(8, 64),
)
def test_padding_is_masked_on_the_right_and_never_past_the_limit(
    rows: list[list[int]], most: int
) -> None:
    rows = [row[:most] for row in rows]
    ids, mask = pad(rows, most=most)
    assert ids.shape == mask.shape
    assert ids.shape[1] <= most
    for row, got, real in zip(rows, ids, mask, strict=True):
        assert got[: len(row)].tolist() == row
        assert real.tolist() == [1] * len(row) + [0] * (len(real) - len(row))


@given(
    pads=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=5),
    seed=st.integers(0, 99),
)
def test_pooling_reads_the_mask_wherever_the_padding_is(
    pads: list[tuple[int, int]], seed: int
) -> None:
    mask = torch.tensor(
        [[0] * left + [1] * (9 - left - right) + [0] * right for left, right in pads]
    )
    hidden = torch.randn(len(pads), 9, 3, generator=torch.Generator().manual_seed(seed))
    for pooling in ("mean", "cls", "last"):
        expected = [
            naive_pool(states[keep.bool()], pooling)
            for states, keep in zip(hidden, mask, strict=True)
        ]
        np.testing.assert_allclose(pool(hidden, mask, pooling), expected, atol=1e-6)  # type: ignore[arg-type]


# -- what is read ----------------------------------------------------------------------------------

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
    assert loaded.render(prompt, "it is") == expected
    assert loaded.render(prompt, (Message("assistant", "it is"),)) == expected


def test_a_templated_text_gets_no_special_tokens_twice(folder: Folder, backbone: Load) -> None:
    loaded = backbone(folder("llama", chat=True))
    (ids,) = loaded.tokenize([loaded.render("name a fish", "trout")])
    words = " ".join(loaded.tokenizer.convert_ids_to_tokens(ids))
    assert words == "<start> user name a fish <end> <start> assistant trout <end>"


def test_a_template_that_refuses_says_so(folder: Folder, backbone: Load) -> None:
    loaded = backbone(folder("llama", chat=True))
    loaded.tokenizer.chat_template = "{{ raise_exception('only users speak') }}" + CHAT_TEMPLATE
    with pytest.raises(BackboneError, match=r"refuses turns of user, assistant: only users speak"):
        loaded.render("name a fish", "trout")


@pytest.mark.parametrize("kind", ["bert", *CAUSAL])
def test_long_texts_lose_their_beginning_but_no_leading_special_token(
    folder: Folder, backbone: Load, kind: str
) -> None:
    loaded = backbone(folder(kind), max_tokens=8)
    (whole,) = loaded.tokenize([loaded.render(*PAIRS[0])])
    leading = whole[:1] if kind in SPECIAL_TOKENS else []
    cut = loaded.cut(whole)
    assert cut == leading + whole[-(8 - len(leading)) :]
    assert loaded.tokenizer.convert_ids_to_tokens(cut)[-2:] == [".", "<end>"]
    assert loaded.cut(whole[:8]) == whole[:8]
    (chunk,) = loaded.encode(PAIRS[:1])
    assert chunk.tokens.tolist() == [len(whole)]
    states = hidden_states(folder(kind), loaded.tokenizer.decode(cut), special=False)
    expected = naive_pool(states, loaded.spec.pooling)
    np.testing.assert_allclose(chunk.vectors[0], expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_a_text_as_long_as_the_positions_is_read(folder: Folder, backbone: Load, kind: str) -> None:
    loaded = backbone(folder(kind))
    assert loaded.spec.max_tokens == POSITIONS
    found = encode(loaded, [("name " * length, "trout") for length in (POSITIONS - 9, 5000)])
    assert np.isfinite(found).all()


# -- what cannot be used ---------------------------------------------------------------------------


def resave(path: Path, model: Any, tokenizer: Any) -> str:
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return str(path)


def test_weights_that_are_missing_are_not_drawn_at_random(
    tmp_path: Path, backbone: Load, folder: Folder
) -> None:
    from safetensors.torch import load_file, save_file

    path = Path(resave(tmp_path, make_model("bert"), make_tokenizer("bert")))
    weights = load_file(path / "model.safetensors")
    without_pooler = {name: w for name, w in weights.items() if not name.startswith("pooler")}
    save_file(without_pooler, path / "model.safetensors", {"format": "pt"})
    np.testing.assert_array_equal(
        encode(backbone(path), PAIRS), encode(backbone(folder("bert")), PAIRS)
    )
    lost = "encoder.layer.1.output.dense.weight"
    save_file(
        {name: w for name, w in without_pooler.items() if name != lost},
        path / "model.safetensors",
        {"format": "pt"},
    )
    with pytest.raises(BackboneError, match=f"damaged: its files lack 1 weights.*such as {lost}"):
        backbone(path)


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path, backbone: Load) -> None:
    model = make_model("bert")
    model.encoder.layer[1].output.dense.bias.data[3] = torch.nan
    loaded = backbone(Path(resave(tmp_path, model, make_tokenizer("bert"))))
    with pytest.raises(BackboneError, match="hidden states that are no numbers"):
        encode(loaded, PAIRS)


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path, backbone: Load) -> None:
    tokenizer = make_tokenizer("bert")
    tokenizer.add_tokens([f"word{i}" for i in range(99)])
    loaded = backbone(Path(resave(tmp_path, make_model("bert"), tokenizer)))
    with pytest.raises(BackboneError, match="tokenizer and weights do not belong together"):
        encode(loaded, [("word1", "word98")])


def test_a_text_without_a_single_token_is_refused(folder: Folder, backbone: Load) -> None:
    loaded = backbone(folder("qwen3"))
    loaded.tokenizer.eos_token = None
    with pytest.raises(BackboneError, match=r"no token for any of '\\n\\n'"):
        encode(loaded, [*PAIRS, ("", "")])


def test_bfloat16_is_near_float32(folder: Folder, backbone: Load) -> None:
    narrow = Backbone(resolve_backbone(str(folder("bert")), dtype="bfloat16"), device="cpu")
    found, expected = encode(narrow, PAIRS), encode(backbone(folder("bert")), PAIRS)
    assert found.shape == (len(PAIRS), WIDTH)
    assert found.dtype == np.float32
    cosine = (found * expected).sum(1)
    cosine /= np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
    assert cosine.min() > 0.995
