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
from palate.features.backbone import Backbone, pool
from tests.unit.features.conftest import Folder
from tests.unit.features.models import (
    PADDINGS,
    PAIRS,
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
        naive_pool(hidden_states(folder(kind), loaded.renderer.render(*pair)), pooling)
        for pair in PAIRS
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
    assert (left.renderer.tokenizer.padding_side, right.renderer.tokenizer.padding_side) == (
        "left",
        "right",
    )
    expected = [
        hidden_states(folder(kind, pad=padding), right.renderer.render(*pair), special=not chat)[-1]
        for pair in PAIRS
    ]
    for loaded in (left, right):
        np.testing.assert_allclose(encode(loaded, PAIRS), torch.stack(expected), atol=1e-5)


def test_the_last_token_is_the_end_of_the_text_even_where_that_is_the_padding(
    folder: Folder, backbone: Load
) -> None:
    loaded = backbone(folder("llama", pad="<end>"))
    rendered = loaded.renderer.render("name a fish", "trout")
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
    loaded.batches.token_budget = 1
    np.testing.assert_allclose(encode(loaded, MANY), whole, atol=1e-5)
    loaded.batches.chunk_batches = 1
    assert len(list(loaded.encode(MANY))) > 3
    np.testing.assert_allclose(encode(loaded, MANY), whole, atol=1e-5)


def test_chunks_hold_every_text_once_longest_first(folder: Folder, backbone: Load) -> None:
    loaded = backbone(folder("bert"))
    loaded.batches.token_budget, loaded.batches.chunk_batches = 8, 1
    chunks = list(loaded.encode(MANY))
    assert sorted(np.concatenate([chunk.places for chunk in chunks])) == list(range(len(MANY)))
    lengths = [[len(loaded.renderer.render(*MANY[i])) for i in chunk.places] for chunk in chunks]
    assert all(min(before) >= max(after) for before, after in pairwise(lengths))
    assert list(loaded.encode([])) == []


def test_threads_give_the_bytes_that_one_gives_and_are_put_back(
    folder: Folder, backbone: Load
) -> None:
    before = torch.get_num_threads()
    loaded = backbone(folder("bert"))
    loaded.batches.token_budget, loaded.batches.workers = 16, 1
    one = encode(loaded, MANY)
    seen = set()
    loaded.model.register_forward_pre_hook(lambda *_: seen.add(torch.get_num_threads()))
    try:
        torch.set_num_threads(3)
        assert backbone(folder("bert")).batches.workers == 3
        loaded.batches.workers = 3
        np.testing.assert_array_equal(encode(loaded, MANY), one)
        assert seen == {1}, "threads within threads"
        assert torch.get_num_threads() == 3
        with ThreadPoolExecutor() as pool:
            assert pool.submit(torch.get_num_threads).result() == 3
    finally:
        torch.set_num_threads(before)


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


def test_bfloat16_is_near_float32(folder: Folder, backbone: Load) -> None:
    narrow = Backbone(resolve_backbone(str(folder("bert")), dtype="bfloat16"), device="cpu")
    found, expected = encode(narrow, PAIRS), encode(backbone(folder("bert")), PAIRS)
    assert found.shape == (len(PAIRS), WIDTH)
    assert found.dtype == np.float32
    cosine = (found * expected).sum(1)
    cosine /= np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
    assert cosine.min() > 0.995
