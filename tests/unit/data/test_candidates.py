"""Candidates from every kind of file and from a pipe, and what is said of bad ones."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from palate.data.candidates import read_candidates, read_prompt
from palate.errors import DataError
from palate.types import Message, Text

#: A file's name, its bytes, and the texts in it.
GOOD: dict[str, tuple[str, bytes, list[Text]]] = {
    "lines": ("a.txt", b"one\n\n \n two \r\nthree", ["one", " two ", "three"]),
    "old lines": ("a.txt", b"one\rtwo", ["one", "two"]),
    "no suffix": ("a", b"one\ntwo\n", ["one", "two"]),
    "a mark at the start": ("a.TXT", b"\xef\xbb\xbfone", ["one"]),
    "separators inside a line": ("a.txt", "a\u2028b\x0cc\x85d\n".encode(), ["a\u2028b\x0cc\x85d"]),
    "json": ("a.json", b'["one", {"response": "two"}, {"text": "three"}]', ["one", "two", "three"]),
    "conversation": (
        "a.json",
        b'[[{"role": "assistant", "content": "one"}]]',
        [(Message("assistant", "one"),)],
    ),
    "json lines": ("a.jsonl", b'"one"\n\n{"response": "two"}\n', ["one", "two"]),
    "separators inside json": (
        "a.jsonl",
        '"a\u2028b\x85c"\n"d"'.encode(),
        ["a\u2028b\x85c", "d"],
    ),
}
#: A file's name, its bytes, and what each line of the message says after the file's name.
BAD: dict[str, tuple[str, bytes, list[str]]] = {
    "empty": ("a.txt", b"", [": holds no candidate"]),
    "blank": ("a.txt", b"\n \n", [": holds no candidate"]),
    "empty list": ("a.json", b"[]", [": holds no candidate"]),
    "empty json": ("a.json", b"", [": not JSON (Expecting value"]),
    "broken json": ("a.json", b'["one"', [": not JSON ("]),
    "endless json": ("a.json", b"[" * 200_000, [": not JSON ("]),
    "long number": ("a.jsonl", b"1" * 5000, [", row 1, field 'response': not JSON (Exceeds"]),
    "no list": ("a.json", b'{"candidates": []}', [": expected a list of responses, found dict"]),
    "latin-1": ("a.txt", b"one\n\ncaf\xe9\n", [", row 3: not UTF-8 text (byte 0xe9); save"]),
    "utf-16": ("a.txt", "one".encode("utf-16"), [", row 1: not UTF-8 text (byte 0xff); save"]),
    "another kind": ("a.csv", b"one", [": unknown kind of file '.csv'; expected .txt, .json or"]),
    "every fault": (
        "a.jsonl",
        b'"one"\n{"response": ""}\n{"answer": "x"}\nbroken\n3\n"\\u0000"\n"\\ud800"',
        [
            ", row 2, field 'response': the text is empty",
            ", row 3, field 'response': the text is missing",
            ", row 4, field 'response': not JSON",
            ", row 5, field 'response': expected a text or a list of turns, found int",
            ", row 6, field 'response': the text holds a NUL",
            "... and 1 more",
        ],
    ),
}


@pytest.mark.parametrize(("name", "content", "texts"), GOOD.values(), ids=GOOD.keys())
def test_candidates_are_read_in_order(
    name: str, content: bytes, texts: list[Text], tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert read_candidates(path) == texts


@pytest.mark.parametrize(("name", "content", "messages"), BAD.values(), ids=BAD.keys())
def test_bad_candidates_are_named(
    name: str, content: bytes, messages: list[str], tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError) as error:
        read_candidates(path)
    lines = str(error.value).splitlines()
    assert len(lines) == len(messages)
    for line, message in zip(lines, messages, strict=True):
        assert line.removeprefix(str(path)).startswith(message)


@pytest.mark.parametrize("path", [Path("nowhere.txt"), Path("/")])
def test_a_file_that_cannot_be_read(path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_candidates(path)


def test_candidates_come_from_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    for content in (b"one\ntwo", b"one\n\xff"):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        if content.isascii():
            assert read_candidates(Path("-")) == ["one", "two"]
        else:
            with pytest.raises(DataError, match=r"^standard input, row 2: not UTF-8"):
                read_candidates(Path("-"))


@pytest.mark.parametrize("prompt", ["", " ", "a\x00", "\udcff", "x" * 600_000])
def test_a_prompt_has_to_be_a_text(prompt: str) -> None:
    assert read_prompt("why?") == "why?"
    with pytest.raises(DataError, match=r"^--prompt: the text "):
        read_prompt(prompt)
