from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from palate.errors import BackboneError
from palate.features import resolve_backbone
from palate.features.backbone import Backbone
from palate.features.live import LiveBackbone, LowRank
from palate.features.prefixes import lay_out, share_prefixes
from tests.unit.features.models import PAIRS, encode

KINDS = ["bert", "qwen3", "llama"]
CAUSAL = ["qwen3", "llama"]
Folder = Callable[..., Path]


def live(path: Path, **settings: Any) -> LiveBackbone:
    local = resolve_backbone(str(path), dtype="float32")
    return LiveBackbone(local, device="cpu", **{"precision": "float32"} | settings)


def hidden(model: LiveBackbone, pairs: Any = PAIRS) -> torch.Tensor:
    found: torch.Tensor = model(model.tokenize(pairs))
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("budget", [8, 64, 8192])
def test_live_states_are_those_of_the_frozen_backbone(
    folder: Folder, backbone: Callable[..., Backbone], kind: str, budget: int
) -> None:
    path = folder(kind, chat=True)
    found = hidden(live(path, tokens_per_batch=budget)).detach().numpy()
    np.testing.assert_allclose(found, encode(backbone(path), PAIRS), atol=2e-6)


@pytest.mark.parametrize("kind", CAUSAL)
def test_packed_rows_have_the_gradients_of_padded_ones(folder: Folder, kind: str) -> None:
    gradients = []
    for packing in (False, True):
        model = live(folder(kind, chat=True), packing=packing)
        weights = torch.linspace(-1, 1, len(PAIRS))[:, None]
        (hidden(model) * weights).sum().backward()
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
    assert len(gradients[0]) > 10
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_prompts_by_themselves_follow_the_texts(folder: Folder) -> None:
    model = live(folder("qwen3", chat=True))
    tokens = model.tokenize(PAIRS, ["why is the sky blue ?"])
    assert len(tokens.ids) == len(PAIRS) + 1
    alone = model(model.tokenize([], ["why is the sky blue ?"]))
    torch.testing.assert_close(model(tokens)[-1:], alone, atol=1e-6, rtol=0)


def test_long_texts_lose_their_beginning_and_are_counted(folder: Folder) -> None:
    model = live(folder("llama"))
    long = [("why is the sky blue ?", "word " * 100), PAIRS[2]]
    tokens = model.tokenize(long)
    assert tokens.truncated == 1
    assert len(tokens.ids[0]) == model.spec.max_tokens


def test_a_pooler_that_nothing_reads_is_held_still(folder: Folder) -> None:
    model = live(folder("bert"))
    still = [name for name, p in model.named_parameters() if not p.requires_grad]
    assert still
    assert all("pooler" in name for name in still)


@pytest.mark.parametrize("kind", KINDS)
def test_lora_begins_where_the_model_is_and_moves_little_else(folder: Folder, kind: str) -> None:
    path = folder(kind)
    low_rank = live(path, lora=LowRank(rank=2, alpha=4.0, dropout=0.0))
    torch.testing.assert_close(hidden(low_rank), hidden(live(path)), atol=1e-6, rtol=0)
    moving = [name for name, p in low_rank.named_parameters() if p.requires_grad]
    assert moving
    assert all("lora_" in name for name in moving)


@pytest.mark.parametrize("lora", [None, LowRank(rank=2, alpha=4.0, dropout=0.0)])
def test_saved_weights_are_read_by_plain_transformers(
    folder: Folder, tmp_path: Path, lora: LowRank | None, backbone: Callable[..., Backbone]
) -> None:
    from transformers import AutoModel

    model = live(folder("qwen3"), lora=lora)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05)
    model.save(tmp_path / "saved")
    assert type(AutoModel.from_pretrained(tmp_path / "saved")).__name__ == "Qwen3Model"
    found = encode(backbone(tmp_path / "saved", pooling="last"), PAIRS)
    np.testing.assert_allclose(found, hidden(model).detach().numpy(), atol=2e-6)


def test_an_encoder_cannot_be_packed(folder: Folder) -> None:
    with pytest.raises(BackboneError, match="cannot be packed"):
        live(folder("bert"), packing=True)


def test_dropout_is_set_for_every_layer(folder: Folder) -> None:
    model = live(folder("bert"), dropout=0.3)
    rates = {module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)}
    assert rates == {0.3}
    model.train()
    assert not torch.equal(hidden(model), hidden(model))
    model.eval()
    assert torch.equal(hidden(model), hidden(model))


def test_rows_hold_a_shared_beginning_once() -> None:
    texts = [[1, 2, 3, 4], [1, 2, 3, 5, 6], [7, 8], [1, 2, 9]]
    rows = share_prefixes(texts, [0, 0, 1, 0], tokens=100)
    assert [row.places for row in rows] == [(1, 0, 3), (2,)]
    assert rows[0].prefix == [1, 2]
    assert rows[0].suffixes == ([3, 5, 6], [3, 4], [9])
    assert sum(map(len, rows)) == 10


def test_a_row_is_no_longer_than_is_asked() -> None:
    texts = [[1, 2, *range(10, 10 + n)] for n in range(1, 9)]
    rows = share_prefixes(texts, [0] * 8, tokens=12)
    assert all(len(row) <= 12 for row in rows)
    assert sorted(place for row in rows for place in row.places) == list(range(8))


def test_a_text_equal_to_the_beginning_of_another_keeps_a_token_of_its_own() -> None:
    [row] = share_prefixes([[1, 2], [1, 2, 3], [1, 2]], [0, 0, 0], tokens=100)
    assert row.prefix == [1]
    assert sorted(row.suffixes) == [[2], [2], [2, 3]]


def test_a_token_reads_the_prefix_and_its_own_text_only() -> None:
    batch = lay_out(share_prefixes([[1, 2, 3], [1, 2, 4]], [0, 0], tokens=100))
    reads = batch.reads[0, 0, :4, :4].int().tolist()
    assert reads == [[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 0, 1]]
    assert batch.positions[0, :4].tolist() == [0, 1, 2, 2]
    assert batch.last.tolist() == [2, 3]
