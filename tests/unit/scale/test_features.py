"""Features by key, whatever part they stand in; those of another model are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from palate import PreferenceData
from palate.errors import DataError, ScaleError
from palate.features.cache import text_key
from palate.scale.features import FeatureTable, check_features, open_features, write_features
from palate.scale.partition import array_of_keys
from palate.scale.vectors import lists_of, table_of_vectors, tensor_of, vectors_of
from tests.unit.scale.worlds import ITEMS, Bench, Models, read, state, trained, write_states


def keys(rows: list[int]) -> pa.ChunkedArray:
    found = b"".join(text_key(*ITEMS[row]) for row in rows)
    return pa.chunked_array([array_of_keys(np.frombuffer(found, np.uint8).reshape(-1, 16))])


@pytest.mark.parametrize("parts", [1, 5, 200])
@pytest.mark.parametrize("room", [0, 10**9], ids=["one part kept", "all kept"])
def test_features_are_found_by_key(parts: int, room: int, tmp_path: Path) -> None:
    table = FeatureTable(open_features(write_states(tmp_path / "f", parts=parts)), room)
    wanted = np.random.default_rng(0).integers(len(ITEMS), size=200).tolist()
    for rows in (wanted, wanted[:1], wanted[::-1]):
        features, places = table.find(keys(rows))
        assert len(features) == len(set(rows))
        expected = torch.stack([state(*ITEMS[row]) for row in rows])
        assert torch.equal(features[torch.from_numpy(places)], expected)
        assert len(table._kept) == 1 or room


def test_the_order_of_features_is_that_of_keys(tmp_path: Path) -> None:
    table = FeatureTable(open_features(write_states(tmp_path / "f")))
    one, _ = table.find(keys([3, 1, 2, 3]))
    other, _ = table.find(keys([2, 3, 1]))
    assert torch.equal(one, other)


def test_a_text_without_features(tmp_path: Path) -> None:
    table = FeatureTable(open_features(write_states(tmp_path / "f")))
    unknown = array_of_keys(np.full((1, 16), 7, np.uint8))
    with pytest.raises(DataError, match="1 of 1 texts have no features"):
        table.find(pa.chunked_array([unknown]))


def test_half_the_size(tmp_path: Path) -> None:
    table = np.frombuffer(b"".join(text_key(*item) for item in ITEMS), np.uint8).reshape(-1, 16)
    vectors = torch.stack([state(*item) for item in ITEMS])
    write_features(tmp_path / "f", table, vectors, parts=2, dtype="bfloat16")
    features, places = FeatureTable(open_features(tmp_path / "f")).find(keys([0, 5]))
    expected = vectors[[0, 5]].bfloat16().float()
    assert torch.equal(features[torch.from_numpy(places)], expected)
    assert read(tmp_path / "f").schema.field("vector").type.byte_width == 2 * vectors.shape[1]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_vectors_to_arrow_and_back(dtype: str) -> None:
    vectors = torch.randn(9, 3, generator=torch.Generator().manual_seed(0))
    table = table_of_vectors(np.zeros((9, 16), np.uint8), vectors, dtype)
    assert torch.equal(vectors_of(table, dtype), vectors.to(getattr(torch, dtype)).float())
    assert torch.equal(vectors_of(table.slice(4), dtype), vectors_of(table, dtype)[4:])
    assert vectors_of(table.slice(0, 0), dtype).shape == (0, 0)
    assert len(table_of_vectors(np.zeros((0, 16), np.uint8), torch.zeros(0, 0), dtype)) == 0
    lists = pa.chunked_array([lists_of(vectors[:4]), lists_of(vectors[4:])])
    assert torch.equal(tensor_of(lists), vectors)


def test_other_hidden_states_are_another_folder(tmp_path: Path) -> None:
    write_states(tmp_path / "f")
    write_states(tmp_path / "f")  # the same ones: nothing to do
    with pytest.raises(ScaleError, match="holds another job"):
        write_states(tmp_path / "f", prompts=False)


def test_features_of_another_model(
    bench: Bench, models: Models, toy: PreferenceData, tmp_path: Path
) -> None:
    folder = open_features(bench.features)
    check_features(folder, bench.model)
    narrow = trained(toy, "ref")
    with pytest.raises(ScaleError, match="have 16 numbers each, the model reads 1: run `palate sc"):
        check_features(folder, narrow)
    model = models["pal B"]
    check_features(folder, model)
    without = open_features(write_states(tmp_path / "f", prompts=False))
    with pytest.raises(ScaleError, match="hold no prompts by themselves"):
        check_features(without, model)


def test_a_folder_of_users_is_no_folder_of_features(tmp_path: Path) -> None:
    with pytest.raises(ScaleError, match=r"holds no features: .*`palate scale encode` wrote"):
        open_features(tmp_path)
