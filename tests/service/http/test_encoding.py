"""Texts in memory, in batches, and records beside the requests: each piece by itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from palate import PersonalRewardModel
from palate.errors import BackboneError, ModelError
from palate.features.batches import EncodedChunk
from palate.service.http import batching
from palate.service.http.batching import Batcher, BusyError
from palate.service.http.encoding import served
from palate.service.http.recording import Recorder
from palate.service.http.vectors import AGE, QuickCache
from palate.service.store import Completion, Store, StoreUnavailable
from tests.service.http.world import DISLIKED, LIKED, PROMPT, WORDS

KEYS = [bytes([i]) * 16 for i in range(6)]
VECTORS = np.arange(12, dtype=np.float32).reshape(6, 2)
TOKENS = np.arange(6)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(tmp_path: Path, clock: Clock) -> QuickCache:
    return QuickCache(tmp_path, "print", most=4, monotonic=clock)


def read(cache: QuickCache, keys: list[bytes]) -> dict[int, tuple[list[float], int]]:
    places, vectors, tokens = cache.read(keys)
    return {int(p): (v.tolist(), int(t)) for p, v, t in zip(places, vectors, tokens, strict=True)}


def test_what_is_in_memory_is_as_on_the_disk(cache: QuickCache, tmp_path: Path) -> None:
    cache.write(KEYS[:3], VECTORS[:3], TOKENS[:3])
    asked = [KEYS[5], KEYS[2], KEYS[0]]
    expected = {1: ([4.0, 5.0], 2), 2: ([0.0, 1.0], 0)}
    assert read(cache, asked) == expected
    assert (cache.hits, cache.misses) == (2, 1)
    assert read(QuickCache(tmp_path, "print"), asked) == expected  # from the disk
    assert read(cache, []) == {}


def test_memory_is_bounded_and_ages(cache: QuickCache, clock: Clock) -> None:
    cache.write(KEYS, VECTORS, TOKENS)
    assert len(read(cache, KEYS)) == 6
    assert len(cache._held) == 4
    clock.now = AGE + 1
    assert cache._of_memory(KEYS) == [None] * 6
    assert len(read(cache, KEYS)) == 6


def test_what_is_forgotten_is_in_neither(cache: QuickCache, tmp_path: Path) -> None:
    cache.write(KEYS[:2], VECTORS[:2], TOKENS[:2])
    cache.forget(KEYS[:1])
    assert list(read(cache, KEYS[:2])) == [1]
    assert list(read(QuickCache(tmp_path, "print"), KEYS[:2])) == [1]


def test_what_another_worker_forgot_goes_from_memory_with_age(
    cache: QuickCache, tmp_path: Path, clock: Clock
) -> None:
    cache.write(KEYS[:1], VECTORS[:1], TOKENS[:1])
    QuickCache(tmp_path, "print").forget(KEYS[:1])
    clock.now = AGE + 1
    assert read(cache, KEYS[:1]) == {}


class Slow:
    """A backbone that takes its time, and tells how often it was asked."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.go = threading.Event()

    def __call__(self, texts: Sequence[str]) -> Iterator[EncodedChunk]:
        self.asked.append(len(texts))
        self.go.wait(5)
        if "bad" in texts:
            raise BackboneError("a bad text")
        order = np.arange(len(texts))[::-1]  # places come in any order
        vectors = np.array([[float(texts[i])] for i in order], dtype=np.float32)
        yield EncodedChunk(order, vectors, np.ones(len(texts), dtype=np.int64))


def test_texts_that_wait_are_read_together() -> None:
    slow = Slow()
    batcher = Batcher(slow)
    with ThreadPoolExecutor(9) as pool:
        first = pool.submit(lambda: list(batcher(["0"])))
        while not slow.asked:
            time.sleep(0.001)
        rest = [pool.submit(lambda i=i: list(batcher([str(i), str(i + 100)]))) for i in range(8)]
        while batcher._jobs.qsize() < 8:
            time.sleep(0.001)
        slow.go.set()
        assert first.result()[0].vectors.tolist() == [[0.0]]
        for i, future in enumerate(rest):
            (chunk,) = future.result()
            assert chunk.vectors[np.argsort(chunk.places)].tolist() == [[i], [i + 100.0]]
    assert slow.asked == [1, 16]


def test_a_bad_text_fails_its_own_request_alone() -> None:
    slow = Slow()
    batcher = Batcher(slow)
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(lambda: list(batcher(["0"])))
        while not slow.asked:
            time.sleep(0.001)
        bad = pool.submit(lambda: list(batcher(["bad"])))
        good = pool.submit(lambda: list(batcher(["7"])))
        while batcher._jobs.qsize() < 2:
            time.sleep(0.001)
        slow.go.set()
        first.result()
        assert good.result()[0].vectors.tolist() == [[7.0]]
        with pytest.raises(BackboneError, match="a bad text"):
            bad.result()
    assert list(batcher([])) == []


def test_too_many_texts_are_told_to_come_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "WAITING", 2)
    slow = Slow()
    batcher = Batcher(slow)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(lambda: list(batcher(["1", "2"])))
        while not slow.asked:
            time.sleep(0.001)
        with pytest.raises(BusyError, match="2 texts wait"):
            batcher(["3"])
        slow.go.set()
        first.result()
    assert list(batcher(["4", "5", "6"]))  # one request may be larger


def test_a_served_model_is_the_model(runs: Path, tmp_path: Path) -> None:
    model = PersonalRewardModel.load(runs / "first", cache=tmp_path)
    ready = served(model)
    assert ready.identity == model.identity
    texts = [LIKED, DISLIKED, "read a book"]
    own, other = model.reward(PROMPT, texts), ready.reward(PROMPT, texts)
    assert own.mean.tolist() == pytest.approx(other.mean.tolist())
    with ThreadPoolExecutor(8) as pool:
        asked = [f"{LIKED} {word}" for word in WORDS[:8]]
        many = list(pool.map(lambda text: float(ready.reward(PROMPT, [text]).mean), asked))
    alone = [float(model.reward(PROMPT, [text]).mean) for text in asked]
    assert many == pytest.approx(alone, abs=1e-4)


def test_a_model_of_features_cannot_serve(toy_model: PersonalRewardModel) -> None:
    with pytest.raises(ModelError, match="trained on features"):
        served(toy_model)


# -- records --------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(f"sqlite:///{tmp_path / 'palate.db'}")
    yield opened
    opened.close()


def completion(id: str) -> Completion:
    return Completion(id, PROMPT, (LIKED, DISLIKED), 0)


def test_records_are_written_in_their_order(store: Store) -> None:
    tenant = store.tenants.ensure("team").id
    recorder = Recorder(store, lambda *given, **more: None)
    assert all(recorder.keep(tenant, "alice", completion(str(i))) for i in range(20))
    recorder.flush()
    served = store.users.export(tenant, "alice")["completions"]
    assert [one["id"] for one in served] == [str(i) for i in range(20)]
    recorder.keep(tenant, "alice", completion("last"))
    recorder.close()
    assert store.completions.find(tenant, "last")[0] == "alice"
    assert not recorder.keep(tenant, "alice", completion("after the end"))


def test_a_record_waits_for_the_database(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    tenant = store.tenants.ensure("team").id
    told: list[str] = []
    recorder = Recorder(store, lambda event, **more: told.append(event))
    keep, fails = store.completions.keep, iter(range(2))

    def failing(*given: Any) -> None:
        if next(fails, None) is not None:
            raise StoreUnavailable("gone", 0.05)
        keep(*given)

    monkeypatch.setattr(store.completions, "keep", failing)
    assert recorder.keep(tenant, "alice", completion("one"))
    time.sleep(0.02)
    assert not recorder.keep(tenant, "alice", completion("two"))  # feedback could not name it
    recorder.flush()
    assert store.completions.find(tenant, "one")[0] == "alice"
    assert recorder.keep(tenant, "alice", completion("three"))
    recorder.keep(tenant, "alice", completion("three"))  # an id that is taken is told, and gone
    recorder.flush()
    assert told == ["completion not kept"]
    recorder.close()
