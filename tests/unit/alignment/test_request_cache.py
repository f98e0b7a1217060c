"""What was answered is there again, for threads, for processes, and after a kill."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from palate.alignment.request_cache import RequestCache, content_key
from palate.errors import CacheError


@pytest.fixture
def cache(tmp_path: Path) -> RequestCache:
    return RequestCache(tmp_path / "folder" / "answers.sqlite")


def test_a_key_is_the_content_whatever_its_order() -> None:
    assert content_key({"a": 1, "b": "é"}) == content_key({"b": "é", "a": 1})
    assert content_key({"a": 1}) != content_key({"a": "1"})
    assert len(content_key({})) == 32


def test_what_is_written_is_read(cache: RequestCache) -> None:
    content = {"texts": ["é", "\ud800 half", "a\nb"], "n": 3}
    assert cache.read(b"k") is None
    assert cache.write(b"k", content) == content
    assert cache.read(b"k") == content
    assert RequestCache(cache.path).read(b"k") == content
    assert len(cache) == 1


def test_the_first_answer_stays(cache: RequestCache) -> None:
    cache.write(b"k", {"n": 1})
    assert cache.write(b"k", {"n": 2}) == {"n": 1}
    assert cache.read(b"k") == {"n": 1}


def test_many_keys_at_once(cache: RequestCache) -> None:
    keys = [number.to_bytes(4) for number in range(5000)]
    for key in keys[::1000]:
        cache.write(key, {"key": key.hex()})
    found = cache.read_many(keys)
    assert sorted(found) == keys[::1000]
    assert found[keys[1000]] == {"key": keys[1000].hex()}
    assert cache.read_many([]) == {}


def test_numbers_that_are_none_are_refused(cache: RequestCache) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        cache.write(b"k", {"n": float("nan")})
    assert len(cache) == 0


def test_a_claim_is_one_threads_at_a_time(cache: RequestCache) -> None:
    inside, most = 0, 0

    def work(key: bytes) -> None:
        nonlocal inside, most
        with cache.claim(key):
            inside += 1
            most = max(most, inside)
            time.sleep(0.005)
            inside -= 1

    threads = [threading.Thread(target=work, args=(b"k",)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert not cache._claims


def test_claims_of_different_keys_do_not_wait(cache: RequestCache) -> None:
    with cache.claim(b"one"), cache.claim(b"two"):
        assert len(cache._claims) == 2


def test_a_claim_ends_with_an_error(cache: RequestCache) -> None:
    with pytest.raises(OSError, match="gone"), cache.claim(b"k"):
        raise OSError("gone")
    with cache.claim(b"k"):
        pass
    assert not cache._claims


WRITER = """
import sys
from pathlib import Path
from palate.alignment.request_cache import RequestCache
cache = RequestCache(Path(sys.argv[1]))
print("started", flush=True)
for number in range(int(sys.argv[2])):
    cache.write(number.to_bytes(4), {"by": sys.argv[3], "number": number})
"""


def writer(path: Path, count: int, name: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(path), str(count), name]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_processes_share_a_file(tmp_path: Path) -> None:
    path = tmp_path / "answers.sqlite"
    processes = [writer(path, 200, name) for name in ("one", "two", "three")]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    for process in processes:
        assert process.stdout is not None
        process.stdout.close()
    cache = RequestCache(path)
    assert len(cache) == 200
    assert {cache.read(i.to_bytes(4))["number"] for i in range(200)} == set(range(200))  # type: ignore[index]


def test_a_kill_leaves_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "answers.sqlite"
    with writer(path, 10**6, "one") as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.2)
        os.kill(process.pid, signal.SIGKILL)
    cache = RequestCache(path)
    count = len(cache)
    assert count > 0
    assert all(cache.read(i.to_bytes(4)) == {"by": "one", "number": i} for i in range(count))
    cache.write(b"new", {})


def test_a_file_that_is_no_cache(tmp_path: Path) -> None:
    path = tmp_path / "answers.sqlite"
    path.write_bytes(b"this is a letter, not a database, and a long one" * 40)
    with pytest.raises(CacheError, match=r"answers.sqlite: .*name another"):
        RequestCache(path)
    assert path.read_bytes().startswith(b"this is a letter")


@pytest.mark.parametrize("content", ["{half", "[1]", "3"])
def test_a_damaged_answer(cache: RequestCache, content: str) -> None:
    connection = sqlite3.connect(cache.path)
    with connection:
        connection.execute("INSERT INTO answers VALUES (?, ?)", (b"k", content))
    connection.close()
    with pytest.raises(CacheError, match="is damaged: delete that file"):
        cache.read(b"k")


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CacheError, match="cannot make the folder"):
        RequestCache(tmp_path / "file" / "answers.sqlite")
