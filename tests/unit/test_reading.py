"""What a method reads: states of texts, of prompts behind them, or likelihoods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from palate import PreferenceData
from palate.errors import CannotRunError, DataError
from palate.features import Encoded
from palate.methods import METHODS
from palate.progress import Progress, Silent
from palate.reading import check_table, read_texts
from palate.settings import build
from palate.types import Text, canonical

WIDTH = 3


class FakeSource:
    """A source whose numbers tell what was read: a text's length, and by which of the readers."""

    def __init__(self, *, causal: bool = True) -> None:
        self.causal = causal
        self.asked: list[tuple[str, int]] = []
        self.progress: list[Progress | None] = []

    def _read(self, kind: str, mark: float, texts: Sequence[Any], progress: Any) -> Encoded:
        self.asked.append((kind, len(texts)))
        self.progress.append(progress)
        rows = [[mark, float(sum(map(len, texts[i]))), float(i)] for i in range(len(texts))]
        return Encoded(torch.tensor(rows).view(-1, WIDTH), computed=len(texts) - 1, truncated=2)

    def encode(
        self, texts: Sequence[tuple[Text, Text]], progress: Progress | None = None
    ) -> Encoded:
        return self._read("items", 1.0, [list(map(canonical, pair)) for pair in texts], progress)

    def encode_prompts(self, prompts: Sequence[Text], progress: Progress | None = None) -> Encoded:
        return self._read("prompts", 2.0, [[canonical(prompt)] for prompt in prompts], progress)

    def log_likelihoods(
        self, texts: Sequence[tuple[Text, Text]], progress: Progress | None = None
    ) -> Encoded:
        if not self.causal:
            raise CannotRunError("backbone 'x' is an encoder and has no likelihood of a text")
        whole = self._read("likelihood", 3.0, [list(map(canonical, p)) for p in texts], progress)
        return Encoded(whole.features[:, 1:2], whole.computed, whole.truncated)


@pytest.fixture
def data() -> PreferenceData:
    """Four items of two prompts, of different lengths."""
    rows = [("p", "a", "bbb"), ("p", "bbb", "a"), ("question", "cc", "dddd")]
    return PreferenceData.load(
        [
            {"user_id": f"u{i}", "prompt": prompt, "chosen": one, "rejected": other}
            for i, (prompt, one, other) in enumerate(rows)
        ]
    )


def read(source: FakeSource, data: PreferenceData, name: str, **settings: Any) -> Encoded:
    method = METHODS[name]
    chosen = build(method.settings_class, settings)
    return read_texts(source, data, method, chosen, Silent())  # type: ignore[arg-type]


def lengths(data: PreferenceData) -> list[float]:
    """Of prompt and response, item by item."""
    return [float(len(str(p)) + len(str(r))) for p, r in data.item_texts()]


@pytest.mark.parametrize("name", [name for name in METHODS if name != "ref"])
def test_hidden_states_of_items_in_their_order(name: str, data: PreferenceData) -> None:
    source = FakeSource()
    encoded = read(source, data, name)
    assert source.asked == [("items", 4)]
    assert encoded.features.shape == (4, WIDTH)
    assert encoded.features[:, 1].tolist() == lengths(data)
    assert (encoded.computed, encoded.truncated) == (3, 2)


def test_prompts_stand_behind_the_items(data: PreferenceData) -> None:
    source = FakeSource()
    encoded = read(source, data, "pal", variant="B")
    assert source.asked == [("items", 4), ("prompts", 2)]
    assert encoded.features.shape == (4 + 2, WIDTH)
    assert encoded.features[:, 0].tolist() == [1.0] * 4 + [2.0] * 2
    assert encoded.features[:4, 1].tolist() == lengths(data)
    assert encoded.features[4:, 1].tolist() == [float(len(str(p))) for p in data.prompts]
    assert (encoded.computed, encoded.truncated) == (3 + 1, 4)


def test_likelihoods_for_a_method_that_scores_by_them(data: PreferenceData) -> None:
    source = FakeSource()
    encoded = read(source, data, "ref")
    assert source.asked == [("likelihood", 4)]
    assert encoded.features.shape == (4, 1)
    assert encoded.features[:, 0].tolist() == lengths(data)


def test_a_backbone_without_likelihood_is_told(data: PreferenceData) -> None:
    with pytest.raises(CannotRunError, match="encoder and has no likelihood"):
        read(FakeSource(causal=False), data, "ref")


@pytest.mark.parametrize(
    ("name", "settings"), [("bt", {}), ("ref", {}), ("pal", {"variant": "B"})], ids=str
)
def test_every_reader_shows_its_progress(
    name: str, settings: dict[str, Any], data: PreferenceData
) -> None:
    source = FakeSource()
    read(source, data, name, **settings)
    assert all(isinstance(shown, Silent) for shown in source.progress)


# -- tables in a backbone's place -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("variant", "rows"), [("A", 4), ("B", 6)], ids=["items", "items and prompts"]
)
def test_a_table_of_the_right_rows_passes(variant: str, rows: int, data: PreferenceData) -> None:
    settings = build(METHODS["pal"].settings_class, {"variant": variant})
    check_table(torch.zeros(rows, 7), data, settings)


@pytest.mark.parametrize("shape", [(3, 7), (6, 7), (0, 7), (4,), (4, 7, 1)])
def test_another_number_of_rows_is_refused(shape: tuple[int, ...], data: PreferenceData) -> None:
    settings = build(METHODS["pal"].settings_class, {})
    with pytest.raises(DataError) as error:
        check_table(torch.zeros(shape), data, settings)
    assert str(error.value) == (
        f"features are {shape}; expected (4, D), a row for each of data.items"
    )


@pytest.mark.parametrize("shape", [(4, 7), (5, 7), (6,)])
def test_a_table_without_its_prompts_is_refused(
    shape: tuple[int, ...], data: PreferenceData
) -> None:
    settings = build(METHODS["pal"].settings_class, {"variant": "B"})
    with pytest.raises(DataError) as error:
        check_table(torch.zeros(shape), data, settings)
    assert f"features are {shape}; expected (6, D)" in str(error.value)
    assert "a row for each of data.items and then of data.prompts" in str(error.value)
