"""The cache: what is written is read, whole, whatever happens to processes and disks."""

from __future__ import annotations

import hashlib
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from palate.errors import CacheError
from palate.features import cache as module
from palate.features.cache import FeatureCache, default_cache_folder, prompt_key, text_key
from palate.types import Message
from tests.unit.features.conftest import Pages
from tests.unit.features.stored import keys_of, rows_of

ROOT = Path(__file__).parents[3]
KEY = st.binary(min_size=16, max_size=16)
FLOAT = st.floats(width=32, allow_nan=False)


def assert_holds(cache: FeatureCache, count: int, width: int = 4) -> None:
    """The rows of `rows_of` are there, whole, and no others; the file is sound."""
    keys, vectors, tokens = rows_of(count, width=width)
    places, found, counts = cache.read([*keys, b"x" * 16])
    order = np.argsort(places)
    assert places[order].tolist() == list(range(count))
    np.testing.assert_array_equal(found[order], vectors)
    np.testing.assert_array_equal(counts[order], tokens)
    with closing(sqlite3.connect(cache.path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("SELECT COUNT(*) FROM features").fetchone() == (count,)


# -- round trip ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("caches")


@settings(max_examples=40)
@given(data=st.data(), keys=st.lists(KEY, unique=True, max_size=12), width=st.integers(1, 5))
def test_what_is_written_is_read_in_any_order_among_other_keys(
    folder: Path, data: st.DataObject, keys: list[bytes], width: int
) -> None:
    shape = (len(keys), width)
    vectors = data.draw(arrays.arrays(np.float32, shape, elements=FLOAT))
    tokens = data.draw(arrays.arrays(np.int64, len(keys), elements=st.integers(0, 2**40)))
    written = data.draw(st.integers(0, len(keys)))
    asked = data.draw(st.permutations(keys))
    cache = FeatureCache(folder, uuid.uuid4().hex)
    cache.write(keys[:written], vectors[:written], tokens[:written])
    cache.write(keys[:written], vectors[:written] + 1, tokens[:written])  # the first stays
    places, found, counts = FeatureCache(folder, cache.path.stem).read(asked)
    assert {asked[i] for i in places} == set(keys[:written])
    for place, vector, count in zip(places, found, counts, strict=True):
        row = keys.index(asked[place])
        np.testing.assert_array_equal(vector, vectors[row])
        assert count == tokens[row]


def test_more_keys_than_one_query_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUERY_SIZE", 7)
    cache = FeatureCache(tmp_path, "a")
    cache.write(*rows_of(30))
    assert_holds(cache, 30)
    places, found, counts = cache.read([])
    assert (len(places), len(found), len(counts)) == (0, 0, 0)


def test_what_is_forgotten_is_not_in_the_files(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path, "a")
    keys, vectors, tokens = rows_of(300)
    cache.write(keys, vectors, tokens)
    cache.forget([*keys[:100], b"x" * 16])
    places, *_ = cache.read(keys)
    assert sorted(places.tolist()) == list(range(100, 300))
    held = b"".join(path.read_bytes() for path in sorted(tmp_path.iterdir()))
    assert not any(vector.astype("<f4").tobytes() in held for vector in vectors[1:100])
    assert vectors[200].astype("<f4").tobytes() in held
    cache.write(keys[:100], vectors[:100], tokens[:100])
    assert_holds(cache, 300)


def test_backbones_do_not_share_entries(tmp_path: Path) -> None:
    FeatureCache(tmp_path, "a").write(*rows_of(3))
    assert len(FeatureCache(tmp_path, "b").read(keys_of(3))[0]) == 0


def test_a_write_that_fails_midway_leaves_nothing_of_itself(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path, "a")
    cache.write(*rows_of(5))
    keys: list[Any] = keys_of(5, start=5)
    with pytest.raises(CacheError, match="NOT NULL"):
        cache.write([*keys[:3], None, keys[4]], *rows_of(5, start=5)[1:])
    with pytest.raises(ValueError, match="longer"):
        cache.write(keys[:3], *rows_of(5, start=5)[1:])
    assert_holds(cache, 5)


# -- addresses -------------------------------------------------------------------------------------


@given(text=st.text(max_size=20), places=st.tuples(st.integers(0, 20), st.integers(0, 20)))
def test_where_a_text_is_divided_makes_another_key(text: str, places: tuple[int, int]) -> None:
    one, other = sorted(min(place, len(text)) for place in places)
    same = text_key(text[:one], text[one:]) == text_key(text[:other], text[other:])
    assert same == (one == other)


@given(pairs=st.lists(st.tuples(st.text(max_size=3), st.text(max_size=3)), unique=True))
def test_different_pairs_have_different_keys(pairs: list[tuple[str, str]]) -> None:
    keys = {text_key(*pair) for pair in pairs}
    assert len(keys) == len(pairs)
    assert all(len(key) == 16 for key in keys)


@given(contents=st.lists(st.text(max_size=3), min_size=1, max_size=3, unique=True))
def test_a_conversation_is_no_text(contents: list[str]) -> None:
    turns = tuple(Message("user", content) for content in contents)
    other_role = tuple(Message("system", content) for content in contents)
    joined = Message("user", "".join(contents))
    prompts = {turns, other_role, (joined,), *contents, "".join(contents)}
    keys = {text_key(prompt, "yes") for prompt in prompts}
    assert len(keys) == len(prompts)


@given(prompt=st.text(), response=st.text())
def test_a_prompt_by_itself_is_no_prompt_with_a_response(prompt: str, response: str) -> None:
    assert len(prompt_key(prompt)) == 16
    pairs = [(prompt, response), (response, prompt), (prompt, ""), ("", prompt)]
    assert prompt_key(prompt) not in {text_key(*pair) for pair in pairs}
    assert prompt_key(prompt) != prompt_key((Message("user", prompt),))
    assert (prompt_key(prompt) == prompt_key(response)) == (prompt == response)


def test_a_key_is_the_same_on_every_machine() -> None:
    whole = (1).to_bytes(8, "little") + b"a" + "ß".encode()
    assert text_key("a", "ß") == hashlib.sha256(whole).digest()[:16]


def test_the_folder_is_chosen_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PALATE_CACHE", "/somewhere")
    assert default_cache_folder() == Path("/somewhere")
    monkeypatch.setenv("PALATE_CACHE", "")
    assert default_cache_folder().name == "palate"


# -- processes -------------------------------------------------------------------------------------

#: What a process begins with that writes to the cache in the folder it is given.
WRITER = """
import os, signal, sys
from pathlib import Path
from palate.features.cache import FeatureCache
from tests.unit.features.stored import rows_of
cache = FeatureCache(Path(sys.argv[1]), "a")
"""


def run(folder: Path, program: str, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER + program, str(folder)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def test_processes_that_make_and_fill_one_cache_at_once_leave_it_whole(tmp_path: Path) -> None:
    program = (
        "for start in range(0, 200, 10):\n"
        "    cache.write(*rows_of(20, start))\n"
        "    assert len(cache.read(rows_of(20, start)[0])[0]) == 20\n"
    )
    writers = [run(tmp_path, program) for _ in range(3)]
    for writer in writers:
        _, errors = writer.communicate(timeout=120)
        assert (writer.returncode, errors) == (0, "")
    assert_holds(FeatureCache(tmp_path, "a"), 210)


def test_a_process_killed_within_a_write_leaves_what_was_there(tmp_path: Path) -> None:
    program = (
        "cache.write(*rows_of(50, 0))\n"
        "keys, vectors, tokens = rows_of(20_000, 50)\n"
        "def dying():\n"
        "    for i, key in enumerate(keys):\n"
        "        if i == 15_000: os.kill(os.getpid(), signal.SIGKILL)\n"
        "        yield key\n"
        "cache.write(dying(), vectors, tokens)\n"
    )
    writer = run(tmp_path, program)
    writer.communicate(timeout=60)
    assert writer.returncode == -signal.SIGKILL
    cache = FeatureCache(tmp_path, "a")
    assert_holds(cache, 50)
    cache.write(*rows_of(10, start=50))
    assert_holds(cache, 60)


# -- disks -----------------------------------------------------------------------------------------


def fill(cache: FeatureCache) -> int:
    """Write rows until the disk refuses; the number of whole writes' rows."""
    ends = [0]

    def write_on() -> None:
        while True:
            cache.write(*rows_of(50, start=ends[-1], width=256))
            ends.append(ends[-1] + 50)

    with pytest.raises(CacheError, match=r"fails: .*free disk space.*PALATE_CACHE"):
        write_on()
    return ends[-1]


def test_no_room_left_is_an_error_and_keeps_what_was_there(tmp_path: Path, pages: Pages) -> None:
    pages(200)
    cache = FeatureCache(tmp_path, "a")
    written = fill(cache)
    assert written >= 300
    with pytest.raises(CacheError, match="database or disk is full"):
        cache.write(*rows_of(1000, start=written, width=256))
    assert_holds(cache, written, width=256)
    pages(10**6)
    cache.write(*rows_of(1000, start=written, width=256))
    assert_holds(cache, written + 1000, width=256)


def test_a_limit_on_file_sizes_is_an_error_and_keeps_what_was_there(tmp_path: Path) -> None:
    program = (
        "from palate.errors import CacheError\n"
        "written = 0\n"
        "try:\n"
        "    while True:\n"
        "        cache.write(*rows_of(1000, written))\n"
        "        written += 1000\n"
        "except CacheError as error:\n"
        "    print(written, error)\n"
    )
    limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (300_000, 300_000))
    writer = run(tmp_path, program, preexec_fn=limit)
    output, errors = writer.communicate(timeout=60)
    assert (writer.returncode, errors) == (0, "")
    written, message = output.split(maxsplit=1)
    assert "free disk space" in message
    assert int(written) >= 1000
    assert_holds(FeatureCache(tmp_path, "a"), int(written))


def test_a_full_disk_is_an_error_and_keeps_what_was_there(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(200_000))
    cache = FeatureCache(small_disk, "a")
    written = fill(cache)
    assert written >= 100
    assert_holds(cache, written, width=256)
    ballast.unlink()
    cache.write(*rows_of(50, start=written, width=256))
    assert_holds(cache, written + 50, width=256)


def test_a_full_disk_takes_no_new_cache(small_disk: Path) -> None:
    with pytest.raises(OSError, match="No space left"):
        (small_disk / "ballast").write_bytes(bytes(10**6))
    with pytest.raises(CacheError, match="free disk space"):
        FeatureCache(small_disk, "a")


# -- damage ----------------------------------------------------------------------------------------


def scribble(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096 : len(content) - 100] = os.urandom(len(content) - 4196)
    path.write_bytes(content)


def replace_table(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b"no database at all " * 999),
        lambda path: path.write_bytes(path.read_bytes()[:6000]),
        scribble,
        lambda path: replace_table(path, "UPDATE features SET vector = x'00' WHERE tokens < 9"),
        lambda path: replace_table(path, "UPDATE features SET vector = x'00'"),
        lambda path: replace_table(path, "UPDATE features SET vector = 7"),
        lambda path: replace_table(path, "UPDATE features SET tokens = 'many'"),
        lambda path: replace_table(path, "ALTER TABLE features DROP COLUMN tokens"),
    ],
    ids=[
        "no database",
        "cut off",
        "scribbled on",
        "some short vectors",
        "no vectors of numbers",
        "numbers for vectors",
        "words for numbers",
        "another table",
    ],
)
def test_a_damaged_cache_says_so(tmp_path: Path, damage: Callable[[Path], Any]) -> None:
    cache = FeatureCache(tmp_path, "a")
    cache.write(*rows_of(500))
    damage(cache.path)
    with pytest.raises(CacheError) as caught:
        FeatureCache(tmp_path, "a").read(keys_of(500))
    assert str(cache.path) in str(caught.value)
    assert "delete that file" in str(caught.value)
    cache.path.unlink()
    again = FeatureCache(tmp_path, "a")
    again.write(*rows_of(5))
    assert_holds(again, 5)


def test_a_folder_that_is_a_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "features"):
        with pytest.raises(CacheError, match=f"cannot make the cache folder {folder}"):
            FeatureCache(folder, "a")


def test_a_file_that_is_a_folder_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.sqlite").mkdir()
    with pytest.raises(CacheError, match="unable to open database file"):
        FeatureCache(tmp_path, "a")


#: As nobody, for whom read-only is read-only; what is imported as root stays imported.
AS_NOBODY = """
import sys
from pathlib import Path
from palate.errors import CacheError
from palate.features.cache import FeatureCache
import os
if os.getuid() == 0: os.setuid(65534)
for folder in sys.argv[1:]:
    try: print(len(FeatureCache(Path(folder), "a").read([])[0]), "readable")
    except CacheError as error: print(error)
"""


def test_a_read_only_folder_says_so(tmp_path: Path) -> None:
    for parent in (tmp_path, *tmp_path.parents):  # pytest's folders are their owner's alone
        if not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o011)
    (tmp_path / "locked").mkdir()
    with_cache = tmp_path / "with cache"
    FeatureCache(with_cache, "a").write(*rows_of(3))
    folders = [tmp_path / "locked", tmp_path / "locked" / "new", with_cache]
    (tmp_path / "locked").chmod(0o555)
    with_cache.chmod(0o555)
    result = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, *map(str, folders)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    opened, made, read = result.stdout.splitlines()
    assert "unable to open database file; free disk space" in opened
    assert "cannot make the cache folder" in made
    assert "Permission denied" in made
    assert "fails: " in read
