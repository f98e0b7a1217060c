"""Every distinct text once, by a real model, as one machine encodes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from palate import PersonalRewardModel, PreferenceData
from palate.errors import BackboneError, DataError, ModelError, ScaleError
from palate.features import FeatureSource, resolve_backbone
from palate.features.cache import prompt_key, text_key
from palate.scale import encoding
from palate.scale.encoding import encode_job, reading
from palate.scale.features import FeatureTable, check_features, open_features, width_of
from palate.scale.job import Here, Outcome, run_job
from palate.scale.partition import array_of_keys
from palate.scale.vectors import vectors_of
from palate.types import Message
from tests.unit.features.models import PAIRS, save
from tests.unit.scale.worlds import Bench, part_bytes, read, write

TURNS = [{"role": "user", "content": "name a fish"}, {"role": "user", "content": "or two"}]


@pytest.fixture(scope="session")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("models") / "qwen3", "qwen3")


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PALATE_CACHE", str(tmp_path / "cache"))
    encoding.reading.cache_clear()


def comparisons(users: int = 30) -> list[dict[str, Any]]:
    """Comparisons of the model's own words by several users, who share texts."""
    nouns = ("trout", "zebra", "light", "air", "bed", "room", "book", "fish")
    words = [f"{one} {other}" for one in nouns for other in ("blue", "red", "cool", "dark")]
    prompts = sorted({str(prompt) for prompt, _ in PAIRS})
    rng = np.random.default_rng(0)
    made = []
    for user in range(users):
        for _ in range(24):
            one, other = rng.choice(len(words), size=2, replace=False)
            row = {"user_id": f"user {user}", "prompt": prompts[rng.integers(len(prompts))]}
            made.append(row | {"chosen": words[one], "rejected": words[other]})
    return made


def encoded(name: object, path: Path, out: Path, **options: Any) -> Outcome:
    return run_job(encode_job(str(name), path, out, **options), Here())


def by_key(folder: Path, dtype: str = "float32") -> dict[bytes, torch.Tensor]:
    table = read(folder)
    keys = table["key"].to_pylist()
    assert len(set(keys)) == len(keys)
    return dict(zip(keys, vectors_of(table, dtype), strict=True))


@pytest.mark.usefixtures("small_pieces")
def test_every_text_once_as_one_machine_encodes_it(
    qwen: Path, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.parquet", comparisons(), group=20)
    outcome = encoded(qwen, path, out, parts=4)
    found = by_key(out)
    texts = PreferenceData.load(path).item_texts()
    assert set(found) == {text_key(*text) for text in texts}
    assert outcome.counts == {"texts": len(texts), "truncated": 0}
    monkeypatch.setenv("PALATE_CACHE", str(tmp_path / "other"))
    expected = FeatureSource(resolve_backbone(str(qwen))).encode(texts).features
    same = torch.stack([found[text_key(*text)] for text in texts])
    torch.testing.assert_close(same, expected, atol=2e-2, rtol=2e-2)  # bfloat16 in hardware
    keys = [row.as_py() for row in read(out)["key"]]
    assert keys == sorted(keys)


def test_the_order_of_rows_changes_no_byte(qwen: Path, out: Path, tmp_path: Path) -> None:
    rows = comparisons()
    encoded(qwen, write(tmp_path / "a.parquet", rows), out, parts=2)
    encoded(qwen, write(tmp_path / "b.parquet", rows[::-1]), tmp_path / "b", parts=2)
    assert part_bytes(out) == part_bytes(tmp_path / "b")


def test_conversations_and_candidates(qwen: Path, out: Path, tmp_path: Path) -> None:
    rows = [{"prompt": TURNS, "response": f"{n}"} for n in ("trout", "zebra", "trout")]
    encoded(qwen, write(tmp_path / "a.parquet", rows), out)
    prompt = tuple(Message(**turn) for turn in TURNS)
    found = by_key(out)
    assert set(found) == {text_key(prompt, "trout"), text_key(prompt, "zebra")}
    expected = FeatureSource(resolve_backbone(str(qwen))).encode([(prompt, "zebra")]).features
    assert torch.equal(found[text_key(prompt, "zebra")], expected[0])


def test_bfloat16_halves_the_folder(qwen: Path, out: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", comparisons(2))
    encoded(qwen, path, out)
    encoded(qwen, path, tmp_path / "half", dtype="bfloat16")
    one, half = by_key(out), by_key(tmp_path / "half", "bfloat16")
    assert all(torch.equal(half[key], one[key].bfloat16().float()) for key in one)


@pytest.mark.parametrize(
    ("method", "settings"), [("ref", {}), ("pal", {"variant": "B", "steps": 5})]
)
def test_a_model_says_what_is_read(
    method: str, settings: dict[str, Any], qwen: Path, out: Path, tmp_path: Path
) -> None:
    """Likelihoods for one, prompts by themselves for another."""
    path = write(tmp_path / "a.parquet", comparisons())
    data = PreferenceData.load(path)
    model = PersonalRewardModel.train(data, method=method, backbone=str(qwen), settings=settings)
    model.save(tmp_path / "run")
    encoded(tmp_path / "run", path, out, parts=3)
    check_features(open_features(out), model)
    found = by_key(out)
    items = data.item_texts()
    keys = [text_key(*item) for item in items]
    expected = model.reader.encode(items)
    prompts = model.reader.encode_prompts(data.prompts)
    if prompts is not None:
        keys += [prompt_key(prompt) for prompt in data.prompts]
        expected = torch.cat([expected, prompts])
    assert set(found) == set(keys)
    same = torch.stack([found[key] for key in keys])
    torch.testing.assert_close(same, expected, atol=2e-2, rtol=2e-2)


def test_parts_without_a_text(qwen: Path, out: Path, tmp_path: Path) -> None:
    """The first part too may be empty, and the width is known all the same."""
    rows = [{"prompt": "name a fish", "response": "trout"}]
    path = write(tmp_path / "a.parquet", rows)
    assert encoded(qwen, path, out, parts=50).counts["texts"] == 1
    folder = open_features(out)
    keys = array_of_keys(np.frombuffer(text_key("name a fish", "trout"), np.uint8)[None])
    assert FeatureTable(folder).find(pa.chunked_array([keys]))[0].shape == (1, 16)
    assert width_of(folder) == 16
    unknown = pa.chunked_array([array_of_keys(np.zeros((1, 16), np.uint8))])
    with pytest.raises(DataError, match="1 of 1 texts have no features"):
        FeatureTable(folder).find(unknown)


def test_features_of_a_backbone_are_not_anothers(
    qwen: Path, bench: Bench, out: Path, tmp_path: Path
) -> None:
    encoded(qwen, write(tmp_path / "a.parquet", comparisons(2)), out)
    with pytest.raises(ScaleError, match=r"are of backbone .*, the model reads none \(hidden stat"):
        check_features(open_features(out), bench.model)


def test_texts_that_are_cut_are_counted(qwen: Path, out: Path, tmp_path: Path) -> None:
    rows = [{"prompt": "name a fish", "response": "trout " * n} for n in (2, 200)]
    assert encoded(qwen, write(tmp_path / "a.parquet", rows), out).counts["truncated"] == 1


def test_what_cannot_encode(bench: Bench, out: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="was trained on features and has no backbone"):
        encode_job(str(bench.run), bench.comparisons, out)
    with pytest.raises(BackboneError):
        encode_job(str(tmp_path / "nothing"), bench.comparisons, out)
    users = write(tmp_path / "users.parquet", [{"user_id": "alice"}])
    with pytest.raises(DataError, match="prompt, chosen, rejected or prompt, response"):
        encode_job("minilm", users, out)
    assert not out.exists()


def test_a_backbone_that_changed_under_the_job(qwen: Path) -> None:
    with pytest.raises(BackboneError, match="is another backbone on this machine"):
        reading(str(qwen), None, "0" * 32)
