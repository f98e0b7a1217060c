"""Texts behind the cache: encoded once, whoever asks, whatever is killed or full."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from palate.cli import main
from palate.errors import CacheError, CannotRunError
from palate.features import Encoded, FeatureSource, resolve_backbone
from palate.features.rendering import TextPair
from palate.progress import Advance, Silent, Terminal
from palate.types import Message, Text
from tests import toy as world
from tests.unit.features.conftest import Folder, Pages
from tests.unit.features.models import PAIRS, WIDTH, encode

MANY: list[TextPair] = [
    (f"{prompt} {'fish ' * (i % 7)}{i}", response)
    for i in range(40)
    for prompt, response in PAIRS[:4]
]


@pytest.fixture
def source(folder: Folder, tmp_path: Path) -> Callable[..., FeatureSource]:
    """A source over a tiny model; each is as fresh as one of another process."""

    def of(cache: str = "cache", kind: str = "bert", **settings: Any) -> FeatureSource:
        local = resolve_backbone(str(folder(kind)), dtype="float32", **settings)
        return FeatureSource(local, tmp_path / cache)

    return of


class Recorder:
    """Progress that remembers."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, int, list[int]]] = []

    @contextmanager
    def track(self, step: str, total: int) -> Iterator[Advance]:
        self.steps.append((step, total, []))
        yield self.steps[-1][2].append


def small_chunks(source: FeatureSource) -> FeatureSource:
    """So few tokens a batch that progress shows and the cache fills every few texts."""
    batches = source.backbone.batches
    batches.token_budget, batches.chunk_batches = 8, 8
    return source


# -- once ------------------------------------------------------------------------------------------


def test_features_stand_in_the_order_of_the_texts_and_equal_texts_count_once(
    source: Callable[..., FeatureSource],
) -> None:
    texts = [*PAIRS, PAIRS[2], *reversed(PAIRS)]
    encoded = source().encode(texts)
    assert encoded.computed == len(PAIRS)
    assert encoded.features.shape == (len(texts), WIDTH)
    assert encoded.features.dtype == torch.float32
    expected = encode(source().backbone, PAIRS)
    rows = [PAIRS.index(pair) for pair in texts]
    np.testing.assert_allclose(encoded.features, expected[rows], atol=1e-6)


def test_what_is_known_is_not_computed_again(source: Callable[..., FeatureSource]) -> None:
    first = source().encode(PAIRS[:3])
    again = source()
    both = again.encode(PAIRS)
    assert (first.computed, both.computed) == (3, 2)
    assert torch.equal(both.features[:3], first.features)
    third = source()
    assert torch.equal(third.encode(PAIRS[::-1]).features, both.features.flip(0))
    assert "backbone" not in vars(third), "loaded, though nothing was to be computed"


def test_texts_longer_than_is_read_are_counted_also_from_the_cache(
    source: Callable[..., FeatureSource],
) -> None:
    texts = [("fish", "trout " * count) for count in (5, 6, 50)] + PAIRS[2:3]
    assert source(max_tokens=8).encode(texts).truncated == 2
    assert source(max_tokens=8).encode(texts[1:]).truncated == 2
    assert source(max_tokens=64).encode(texts).truncated == 0


def test_nothing_gives_nothing(source: Callable[..., FeatureSource]) -> None:
    encoded = source().encode([])
    assert (len(encoded.features), encoded.computed, encoded.truncated) == (0, 0, 0)


# -- prompts by themselves -------------------------------------------------------------------------

PROMPTS: list[Text] = [PAIRS[0][0], PAIRS[2][0], (Message("user", "why"), Message("user", "name"))]


@pytest.mark.parametrize("kind", ["bert", "qwen3"])
def test_prompts_are_encoded_once_and_apart_from_their_answers(
    source: Callable[..., FeatureSource], kind: str
) -> None:
    items = source(kind=kind).encode([(prompt, "") for prompt in PROMPTS])
    encoded = source(kind=kind).encode_prompts([*PROMPTS, PROMPTS[1]])
    assert encoded.computed == len(PROMPTS)
    assert encoded.features.shape == (len(PROMPTS) + 1, WIDTH)
    assert torch.equal(encoded.features[1], encoded.features[-1])
    again = source(kind=kind)
    assert torch.equal(again.encode_prompts(PROMPTS[::-1]).features, encoded.features[:3].flip(0))
    assert torch.equal(again.encode([(p, "") for p in PROMPTS]).features, items.features)
    assert "backbone" not in vars(again), "loaded, though nothing was to be computed"
    if kind == "qwen3":
        assert (encoded.features[:3] - items.features).abs().amax(1).min() > 0.01
    assert again.encode_prompts([]).computed == 0


def test_long_prompts_are_counted_and_their_progress_has_a_name_of_its_own(
    source: Callable[..., FeatureSource],
) -> None:
    shown = Recorder()
    encoded = source(max_tokens=6).encode_prompts(["fish " * 3, "fish " * 9], shown)
    assert encoded.truncated == 1
    assert shown.steps == [("encoding prompts", 2, [2])]


# -- likelihoods -----------------------------------------------------------------------------------


def test_likelihoods_are_computed_once_in_the_order_of_the_texts(
    source: Callable[..., FeatureSource],
) -> None:
    texts = [*PAIRS, PAIRS[2], *reversed(PAIRS)]
    shown = Recorder()
    encoded = source(kind="qwen3").log_likelihoods(texts, shown)
    assert (encoded.computed, encoded.truncated) == (len(PAIRS), 0)
    assert encoded.features.shape == (len(texts), 1)
    assert encoded.features.dtype == torch.float32
    assert bool((encoded.features < 0).all())
    assert len(encoded.features.unique()) == len(PAIRS)
    assert torch.equal(encoded.features[: len(PAIRS)], encoded.features[-len(PAIRS) :].flip(0))
    assert [step for step, _, _ in shown.steps] == ["scoring texts"]
    again = source(kind="qwen3", pooling="mean")
    known = again.log_likelihoods(PAIRS, shown)
    assert known.computed == 0
    assert torch.equal(known.features, encoded.features[: len(PAIRS)])
    assert not {"backbone", "likelihood"} & vars(again).keys(), "loaded with nothing to compute"
    assert len(shown.steps) == 1


def test_likelihoods_and_hidden_states_of_the_same_texts_stand_apart(
    source: Callable[..., FeatureSource],
) -> None:
    both = source(kind="qwen3")
    first = both.log_likelihoods(PAIRS)
    hidden = both.encode(PAIRS)
    assert (hidden.computed, hidden.features.shape[1]) == (len(PAIRS), WIDTH)
    assert torch.equal(both.log_likelihoods(PAIRS).features, first.features)
    assert both.log_likelihoods([]).features.shape == (0, 1)


def test_texts_too_long_to_be_scored_whole_are_counted_also_from_the_cache(
    source: Callable[..., FeatureSource],
) -> None:
    texts = [("fish " * 9, "trout"), ("fish", "trout " * 9), ("fish", "trout")]
    for _ in range(2):
        encoded = source(kind="qwen3", max_tokens=8).log_likelihoods(texts)
        assert encoded.truncated == 2


def test_an_encoder_has_no_likelihood_and_leaves_no_trace_of_one(
    source: Callable[..., FeatureSource], tmp_path: Path
) -> None:
    encoder = source()
    for texts in (PAIRS, []):
        with pytest.raises(CannotRunError, match="is an encoder and has no likelihood of a text"):
            encoder.log_likelihoods(texts)
    assert len(list((tmp_path / "cache" / "features").glob("*.sqlite"))) == 1


# -- progress --------------------------------------------------------------------------------------


def test_progress_advances_by_all_that_is_computed(source: Callable[..., FeatureSource]) -> None:
    source().encode(MANY[:30])
    shown = Recorder()
    small_chunks(source()).encode([*MANY, *MANY[:5]], shown)
    ((step, total, advances),) = shown.steps
    assert (step, total) == ("encoding texts", len(MANY) - 30)
    assert sum(advances) == total
    assert len(advances) > 5
    assert min(advances) > 0
    source().encode(MANY, shown)
    assert len(shown.steps) == 1


def test_bars_are_shown_on_standard_error_alone(
    source: Callable[..., FeatureSource], capsys: pytest.CaptureFixture[str]
) -> None:
    small_chunks(source()).encode(MANY, Terminal())
    output, errors = capsys.readouterr()
    assert output == ""
    assert "encoding texts" in errors
    assert f"{len(MANY)}/{len(MANY)}" in errors
    with Silent().track("encoding texts", 3) as advance:
        advance(3)
    assert capsys.readouterr() == ("", "")


# -- processes -------------------------------------------------------------------------------------

#: Encode the texts of standard input into a cache; say how far it is, and stop after some chunks.
ENCODER = """
import json, sys, time
from contextlib import contextmanager
from pathlib import Path
from palate.features import FeatureSource, batches, resolve_backbone
batches.TOKEN_BUDGET["cpu"] = batches.CHUNK_BATCHES["cpu"] = 8
name, cache, stop = sys.argv[1:]
class Told:
    @contextmanager
    def track(self, step, total):
        chunks = []
        def advance(done):
            print(done, flush=True)
            chunks.append(done)
            if len(chunks) == int(stop):
                time.sleep(60)
        yield advance
source = FeatureSource(resolve_backbone(name, dtype="float32"), Path(cache))
encoded = source.encode([tuple(pair) for pair in json.loads(sys.stdin.readline())], Told())
heavy = {"transformers", "tokenizers"} & set(sys.modules)
print(json.dumps([encoded.computed, sorted(heavy), encoded.features.tolist()]))
"""


def start(
    folder: Path, cache: Path, texts: Sequence[TextPair], stop: int = 0
) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", ENCODER, str(folder), str(cache), str(stop)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(texts) + "\n")
    process.stdin.flush()
    return process


def result(
    process: subprocess.Popen[str],
) -> tuple[int, list[str], np.ndarray[tuple[int, ...], np.dtype[np.float64]]]:
    output, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (0, "")
    computed, heavy, features = json.loads(output.splitlines()[-1])
    return computed, heavy, np.array(features)


def assert_whole(cache: Path, texts: int) -> None:
    (file,) = (cache / "features").glob("*.sqlite")
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("SELECT COUNT(*) FROM features").fetchone() == (texts,)


def test_a_second_process_computes_nothing_and_imports_no_transformers(
    source: Callable[..., FeatureSource], folder: Folder, tmp_path: Path
) -> None:
    first = source().encode(MANY)
    computed, heavy, features = result(start(folder("bert"), tmp_path / "cache", MANY))
    assert (computed, heavy) == (0, [])
    np.testing.assert_array_equal(features, first.features)


def test_processes_that_encode_the_same_texts_at_once_leave_one_whole_cache(
    source: Callable[..., FeatureSource], folder: Folder, tmp_path: Path
) -> None:
    parts = [MANY[:100], MANY[60:]]
    started = [start(folder("bert"), tmp_path / "cache", part) for part in parts]
    results = [result(process) for process in started]
    assert_whole(tmp_path / "cache", len(MANY))
    expected = source("other cache").encode(MANY).features
    for (_, _, features), rows in zip(results, (slice(100), slice(60, None)), strict=True):
        np.testing.assert_allclose(features, expected[rows], atol=1e-5)
    cached = source().encode(MANY)
    assert cached.computed == 0
    np.testing.assert_allclose(cached.features, expected, atol=1e-5)


def test_a_killed_process_leaves_what_it_finished_and_the_next_goes_on(
    source: Callable[..., FeatureSource], folder: Folder, tmp_path: Path
) -> None:
    process = start(folder("bert"), tmp_path / "cache", MANY, stop=5)
    assert process.stdout is not None
    finished = sum(int(process.stdout.readline()) for _ in range(5))
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert 0 < finished < len(MANY)
    assert_whole(tmp_path / "cache", finished)
    encoded = source().encode(MANY)
    assert encoded.computed == len(MANY) - finished
    expected = source("other cache").encode(MANY).features
    np.testing.assert_allclose(encoded.features, expected, atol=1e-5)


# -- no room ---------------------------------------------------------------------------------------


def pages_of(cache: Path) -> int:
    (file,) = (cache / "features").glob("*.sqlite")
    with closing(sqlite3.connect(file)) as connection:
        return int(connection.execute("PRAGMA page_count").fetchone()[0])


def test_a_full_disk_keeps_the_chunks_that_were_finished(
    source: Callable[..., FeatureSource], tmp_path: Path, pages: Pages
) -> None:
    first = source().encode(MANY[:40])
    pages(pages_of(tmp_path / "cache") + 1)
    shown = Recorder()
    with pytest.raises(CacheError, match="database or disk is full; free disk space"):
        small_chunks(source()).encode(MANY, shown)
    pages(10**6)
    kept = 40 + sum(shown.steps[0][2])
    assert kept > 40
    assert_whole(tmp_path / "cache", kept)
    encoded: Encoded = source().encode(MANY)
    assert encoded.computed == len(MANY) - kept
    assert torch.equal(encoded.features[:40], first.features)


def test_the_command_line_says_that_the_disk_is_full_and_exits_with_2(
    folder: Folder,
    tmp_path: Path,
    pages: Pages,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    comparisons = tmp_path / "comparisons.jsonl"
    comparisons.write_text("".join(json.dumps(row) + "\n" for row in world.rows()))
    cache = tmp_path / "cache"
    FeatureSource(resolve_backbone(str(folder("bert"))), cache).encode(PAIRS)
    words = ["train", comparisons, "--out", tmp_path / "run", "--cache", cache]
    words += ["--backbone", folder("bert"), "--json"]
    monkeypatch.setattr(sys, "argv", ["palate", *map(str, words)])
    pages(pages_of(cache))
    with pytest.raises(SystemExit) as end:
        main()
    output, errors = capsys.readouterr()
    assert (end.value.code, output) == (2, "")
    assert "error: the feature cache" in errors
    assert "database or disk is full; free disk space" in errors
    assert "Traceback" not in errors
    assert not (tmp_path / "run").exists()
    assert_whole(cache, len(PAIRS))
