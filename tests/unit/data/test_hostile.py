"""Random bytes and damaged files: an error of ours or comparisons, never anything else."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from palate import PersonalRewardModel, PreferenceData
from palate.adaptation.saved import read_profile
from palate.data.candidates import read_candidates
from palate.errors import PalateError
from palate.files import json_checksum
from tests.toy import WIDTH
from tests.unit.data.formats import CONVERSATIONS, FILES, FULL

pytestmark = pytest.mark.timeout(120)

Reader = Callable[[Path], Any]


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """The bytes after a few cuts, flips, insertions and repetitions."""
    content = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        stop = min(start + draw(st.integers(0, 40)), len(content))
        match draw(st.sampled_from(["flip", "cut", "end", "insert", "repeat"])):
            case "flip" if start < len(content):
                content[start] ^= 1 << draw(st.integers(0, 7))
            case "cut":
                del content[start:stop]
            case "end":
                del content[start:]
            case "insert":
                content[start:start] = draw(st.binary(min_size=1, max_size=12) | TOKENS)
            case _:
                content[start:start] = content[start:stop] * 3
    return bytes(content)


#: What readers trip over: quotes, brackets, escapes, encodings' marks, numbers beyond all bounds.
TOKENS = st.sampled_from(
    [
        *(b'"', b"'", b"\n", b"\r", b"\x00", b",", b"{", b"}", b"[" * 3000),
        *(b"\\", b"\\u0000", b"\\ud800", b"\xff\xfe", b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"\xe9"),
        *(b"NaN", b"-Infinity", b"1e999", b"9" * 5000, b"null", b"PAR1", b"\x1f\x8b\x08"),
    ]
)


def check(reader: Reader, path: Path, content: bytes) -> None:
    """Whatever is read is whole; whatever is refused says so in a few lines."""
    path.write_bytes(content)
    message = refusal(reader, path)
    assert message is None or str(path) in message
    assert len(message or "") < 5000


def refusal(reader: Reader, path: Path) -> str | None:
    """What the reader says, in an error of ours; None where it reads."""
    try:
        reader(path)
    except PalateError as error:
        return str(error)
    return None


def load(path: Path) -> None:
    data = PreferenceData.load(path)
    assert len(data) > 0
    assert data.item_texts()
    assert data.weight is None or bool(np.isfinite(data.weight).all())
    data, problems = PreferenceData.inspect(path)
    assert data is not None
    assert len(problems) == len(data.left_out)


@given(content=st.binary(max_size=200) | st.binary(max_size=20).flatmap(damaged))
@settings(max_examples=60)
@pytest.mark.parametrize("name", ["a.parquet", "a.jsonl", "a.jsonl.gz", "a.csv", "a.csv.gz"])
def test_random_bytes_as_comparisons(
    name: str, tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    check(load, tmp_path_factory.getbasetemp() / f"random {name}", content)


MUTATED = {
    **{name: FILES[name](FULL) for name in ("a.jsonl", "a.csv", "a.jsonl.gz", "a.csv.gz")},
    **{name: FILES[name](FULL) for name in FILES if name.lower().endswith("parquet")},
    "conversations.parquet": FILES["a.parquet"](CONVERSATIONS),
    "conversations.jsonl": FILES["a.jsonl"](CONVERSATIONS),
}


@given(draw=st.data())
@settings(max_examples=150)
@pytest.mark.parametrize("name", MUTATED)
def test_damaged_comparisons(
    name: str, tmp_path_factory: pytest.TempPathFactory, draw: st.DataObject
) -> None:
    content = draw.draw(damaged(MUTATED[name]))
    check(load, tmp_path_factory.getbasetemp() / f"damaged {name}", content)


CANDIDATES = {
    "a.txt": b"one\ntwo\n\xc3\xa9\n",
    "a.json": b'["one", {"response": "two"}, [{"role": "assistant", "content": "x"}], "\\u00e9"]',
    "a.jsonl": b'"one"\n{"response": "two"}\n[{"role": "assistant", "content": "x"}]\n',
}


@given(draw=st.data())
@settings(max_examples=150)
@pytest.mark.parametrize("name", CANDIDATES)
def test_damaged_candidates(
    name: str, tmp_path_factory: pytest.TempPathFactory, draw: st.DataObject
) -> None:
    content = draw.draw(damaged(CANDIDATES[name]) | st.binary(max_size=100))
    check(read_candidates, tmp_path_factory.getbasetemp() / f"damaged {name}", content)


@given(draw=st.data())
@settings(max_examples=300)
def test_damaged_profiles(
    toy_model: PersonalRewardModel, tmp_path_factory: pytest.TempPathFactory, draw: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.json"
    save_with_answers(toy_model, path)
    content = draw.draw(damaged(path.read_bytes()) | st.binary(max_size=100))
    check(profile, path, content)


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)


@given(draw=st.data())
@settings(max_examples=300)
def test_profiles_with_other_values(
    toy_model: PersonalRewardModel, tmp_path_factory: pytest.TempPathFactory, draw: st.DataObject
) -> None:
    """Each field of a profile in turn with any value that JSON can hold."""
    path = tmp_path_factory.getbasetemp() / "other.json"
    save_with_answers(toy_model, path)
    content = json.loads(path.read_text())
    holder = draw.draw(st.sampled_from([content, content["evidence"]]))
    field = draw.draw(st.sampled_from(sorted(holder)))
    holder[field] = draw.draw(json_values | st.just([draw.draw(st.floats())] * 8))
    del content["checksum"]
    content["checksum"] = json_checksum(content)
    check(profile, path, json.dumps(content).encode())


def save_with_answers(model: PersonalRewardModel, path: Path) -> None:
    """A profile of three answers."""
    chosen, rejected = torch.randn(2, 3, WIDTH, generator=torch.Generator().manual_seed(0)).unbind()
    model.adapt((chosen, rejected)).save(path)


def profile(path: Path) -> None:
    saved = read_profile(path)
    record = saved.record
    assert record.rows.ndim == 2
    assert bool(record.rows.isfinite().all())
    assert len(record.keys) == len(record) == len(record.rows)
    assert 0 <= record.contradictory <= len(record)
    assert not record.keys.keys() & record.withdrawn.keys()


@given(content=st.binary(max_size=60))
@settings(max_examples=60)
def test_random_bytes_from_a_pipe(content: bytes) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        message = refusal(read_candidates, Path("-"))
    assert message is None or message.startswith("standard input")
