"""Bad input through the real entry point: exit code 2, one clear message, nothing else touched."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from palate.storage import CONFIG, METHOD_TENSORS, REPORT, TRAINING_TENSORS
from tests import toy as world
from tests.cli.conftest import Desk, Palate, Result
from tests.unit.data.formats import Row, comma_separated, jsonl, parquet

ROWS = world.rows(users=6)
MEGABYTE = "x" * 1_000_000


def changed(at: int, **values: Any) -> list[Row]:
    """The rows, with other values in row `at` (from 1)."""
    return [row | (values if i == at else {}) for i, row in enumerate(ROWS, start=1)]


def weighted(value: Any) -> list[Row]:
    return [row | {"weight": value if i == 4 else 1.0} for i, row in enumerate(ROWS)]


def without(column: str) -> list[Row]:
    return [{name: value for name, value in row.items() if name != column} for row in ROWS]


def cut(content: bytes, share: float) -> bytes:
    return content[: int(share * len(content))]


def flipped(content: bytes, share: float) -> bytes:
    place = int(share * len(content))
    return content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :]


PARQUET, JSONL, CSV = parquet(ROWS), jsonl(ROWS), comma_separated(ROWS)
ZIPPED = gzip.compress(JSONL, mtime=0)
LINES = JSONL.split(b"\n")
NOT_WHOLE = "not a whole Parquet file"

#: A file's name, its bytes, and what is said of it: row, field and the fault.
BAD_FILES: dict[str, tuple[str, bytes, list[str]]] = {
    "missing column in csv": (
        "a.csv",
        comma_separated(without("chosen")),
        ["field 'chosen': column is missing; found user_id, prompt, rejected; expected"],
    ),
    "missing column in jsonl": (
        "a.jsonl",
        jsonl(without("prompt")),
        ["field 'prompt': column is missing"],
    ),
    "missing column in parquet": (
        "a.parquet",
        parquet(without("rejected")),
        ["field 'rejected': column is missing"],
    ),
    "another schema": (
        "a.jsonl",
        b'{"question": "q", "answer_a": "x"}\n' * 3,
        ["field 'prompt'", "field 'chosen'", "field 'rejected'"],
    ),
    "semicolons": (
        "a.csv",
        CSV.replace(b",", b";"),
        ["field 'prompt': column is missing; found user_id;prompt;"],
    ),
    "column twice": (
        "a.csv",
        b"user,prompt,chosen,chosen\n1,2,3,4\n",
        ["field 'chosen': column stands twice"],
    ),
    "wrong type": (
        "a.jsonl",
        jsonl(changed(3, prompt=5)),
        ["row 3, field 'prompt': expected a text or a list of turns, found int"],
    ),
    "wrong type in parquet": (
        "a.parquet",
        parquet([row | {"chosen": 1} for row in ROWS]),
        ["row 1, field 'chosen': expected a text or a list of turns, found int"],
    ),
    "structure in parquet": (
        "a.parquet",
        parquet([row | {"chosen": {"x": 1}} for row in ROWS]),
        ["row 1, field 'chosen': expected a text or a list of turns, found dict"],
    ),
    "user is a fraction": (
        "a.jsonl",
        jsonl(changed(2, user_id=1.5)),
        ["row 2, field 'user_id': expected a text or a whole number"],
    ),
    "empty text": (
        "a.csv",
        comma_separated(changed(7, chosen=" ")),
        ["row 7, field 'chosen': the text is empty"],
    ),
    "null in parquet": (
        "a.parquet",
        parquet(changed(7, rejected=None)),
        ["row 7, field 'rejected': the text is missing"],
    ),
    "the same text twice": (
        "a.parquet",
        parquet(changed(9, chosen="same", rejected="same")),
        ["row 9, field 'rejected': the same text is chosen and rejected"],
    ),
    "weight NaN": (
        "a.jsonl",
        jsonl(weighted(float("nan"))),
        ["row 5, field 'weight': the weight is nan"],
    ),
    "weight NaN in parquet": (
        "a.parquet",
        parquet(weighted(float("nan"))),
        ["row 5, field 'weight': the weight is nan"],
    ),
    "weight infinite": (
        "a.csv",
        comma_separated(weighted("inf")),
        ["row 5, field 'weight': the weight is inf"],
    ),
    "weight negative": (
        "a.csv",
        comma_separated(weighted(-2)),
        ["row 5, field 'weight': the weight is -2.0; expected a positive"],
    ),
    "weight zero": ("a.jsonl", jsonl(weighted(0)), ["row 5, field 'weight': the weight is 0.0"]),
    "weight in words": (
        "a.csv",
        comma_separated(weighted("heavy")),
        ["row 5, field 'weight': expected a number as weight, found 'heavy'"],
    ),
    "weight beyond all bounds": (
        "a.jsonl",
        jsonl(weighted(10**400)),
        ["row 5, field 'weight': the weight is too large"],
    ),
    "number of 5000 digits": (
        "a.jsonl",
        JSONL + b'{"user_id": ' + b"9" * 5000 + b"}\n",
        ["row 145: not JSON (Exceeds the limit"],
    ),
    "one megabyte in jsonl": (
        "a.jsonl",
        jsonl(changed(2, prompt=MEGABYTE)),
        ["row 2, field 'prompt': the text has 1,000,000 bytes; at most 500,000"],
    ),
    "one megabyte in csv": (
        "a.csv",
        comma_separated(changed(2, chosen=MEGABYTE)),
        ["row 2, field 'chosen': the text has 1,000,000 bytes"],
    ),
    "one megabyte in parquet": (
        "a.parquet",
        parquet(changed(2, user_id=MEGABYTE)),
        ["row 2, field 'user_id': the user id has 1,000,000 bytes"],
    ),
    "eleven megabytes in csv": (
        "a.csv",
        comma_separated(changed(2, chosen=MEGABYTE * 11)),
        ["row 2: not CSV (field larger than field limit"],
    ),
    "latin-1 csv": (
        "a.csv",
        comma_separated(changed(3, chosen="café")).decode().encode("latin-1"),
        ["row 3: not UTF-8 text (byte 0xe9); save the file as UTF-8"],
    ),
    "latin-1 jsonl": (
        "a.jsonl",
        JSONL + '{"prompt": "café"}\n'.encode("latin-1"),
        ["row 145: not UTF-8 text (byte 0xe9); save the file as UTF-8"],
    ),
    "latin-1 header": (
        "a.csv",
        CSV.replace(b"prompt", b"pr\xe9", 1),
        ["the header is not UTF-8 text (byte 0xe9)"],
    ),
    "utf-16 csv": (
        "a.csv",
        CSV.decode().encode("utf-16"),
        ["UTF-16 or UTF-32, not UTF-8 text; save the file as UTF-8"],
    ),
    "utf-16 jsonl": (
        "a.jsonl",
        JSONL.decode().encode("utf-16-le"),
        ["UTF-16 or UTF-32, not UTF-8 text"],
    ),
    "half a surrogate pair": (
        "a.jsonl",
        jsonl(ROWS) + rb'{"user_id": "u", "prompt": "\ud83d", "chosen": "a", "rejected": "b"}',
        ["row 145, field 'prompt': the text holds half a surrogate pair"],
    ),
    "surrogates in a column's name": (
        "a.jsonl",
        rb'{"\ud83d": 1}',
        ["field 'prompt': column is missing; found \\ud83d;"],
    ),
    "NUL in jsonl": (
        "a.jsonl",
        jsonl(changed(4, rejected="a\x00b")),
        ["row 4, field 'rejected': the text holds a NUL character"],
    ),
    "NUL in csv": (
        "a.csv",
        comma_separated(changed(4, prompt="a\x00b")),
        ["row 4, field 'prompt': the text holds a NUL character"],
    ),
    "half-written parquet": ("a.parquet", cut(PARQUET, 0.5), [NOT_WHOLE, "write it again"]),
    "parquet without its end": ("a.parquet", PARQUET[:-1], [NOT_WHOLE]),
    "parquet cut early": ("a.parquet", PARQUET[:20], [NOT_WHOLE]),
    "parquet cut in its footer": ("a.parquet", cut(PARQUET, 0.95), [NOT_WHOLE]),
    "parquet with damaged pages": ("a.parquet", flipped(PARQUET, 0.02), ["a.parquet"]),
    "parquet without a beginning": ("a.parquet", PARQUET[100:], ["a.parquet"]),
    "csv named parquet": ("a.parquet", CSV, [NOT_WHOLE]),
    "parquet named csv": (
        "a.csv",
        PARQUET,
        ["a Parquet file; give it a name that ends with .parquet"],
    ),
    "gzip named jsonl": (
        "a.jsonl",
        ZIPPED,
        ["a gzipped file; give it a name that ends with .gz"],
    ),
    "half-written gzip": ("a.jsonl.gz", cut(ZIPPED, 0.5), ["cannot be read", "is it complete?"]),
    "gzip without its end": ("a.jsonl.gz", ZIPPED[:-5], ["cannot be read", "is it complete?"]),
    "gzip cut in its header": ("a.jsonl.gz", ZIPPED[:7], ["cannot be read", "is it complete?"]),
    "gzip with damage": ("a.jsonl.gz", flipped(ZIPPED, 0.5), ["a.jsonl.gz"]),
    "gzip with another checksum": (
        "a.jsonl.gz",
        flipped(ZIPPED, 0.999),
        ["cannot be read", "is it complete?"],
    ),
    "text named gzip": ("a.csv.gz", CSV, ["cannot be read", "Not a gzipped file"]),
    "broken line": (
        "a.jsonl",
        b"\n".join([*LINES[:4], LINES[4][:30], *LINES[5:]]),
        ["row 5: not JSON", "expected one object a line"],
    ),
    "lines that are no objects": (
        "a.jsonl",
        JSONL + b"[1]\n3\n",
        ["row 145: expected an object with fields, found list", "row 146"],
    ),
    "one array of objects": (
        "a.jsonl",
        json.dumps(ROWS).encode(),
        ["row 1: expected an object with fields, found list"],
    ),
    "a long record over lines": (
        "a.jsonl",
        json.dumps(ROWS[0], indent=1).encode(),
        ["row 1: not JSON"],
    ),
    "ragged rows": (
        "a.csv",
        CSV + b"a,b\r\na,b,c,d,e\r\n",
        ["row 145: has 2 fields, the header 4; check the quotes", "row 146: has 5 fields"],
    ),
    "unclosed quote": (
        "a.csv",
        CSV + b'"u,p,c,r\r\n',
        ["row 145: not CSV (unexpected end of data)"],
    ),
    "stray quote": ("a.csv", CSV + b'"u"x,p,c,r\r\n', ["row 145: not CSV"]),
    "empty csv": ("a.csv", b"", ["holds no comparison"]),
    "empty jsonl": ("a.jsonl", b"", ["holds no comparison"]),
    "empty parquet": ("a.parquet", b"", [NOT_WHOLE]),
    "empty gzip": ("a.jsonl.gz", b"", ["holds no comparison"]),
    "header alone": ("a.csv", CSV.split(b"\n")[0], ["holds no comparison"]),
    "blank lines alone": ("a.jsonl", b"\n\n \n", ["holds no comparison"]),
    "parquet without rows": ("a.parquet", parquet([]), ["holds no comparison"]),
    "another kind of file": (
        "a.xlsx",
        b"PK",
        ["unknown kind of file; expected one of .parquet, .jsonl"],
    ),
    "no kind of file": ("comparisons", JSONL, ["unknown kind of file"]),
    "gzip of no kind": ("a.gz", ZIPPED, ["unknown kind of file"]),
}
#: What only training needs.
UNFIT_FILES: dict[str, tuple[str, bytes, list[str]]] = {
    "one user": (
        "a.csv",
        comma_separated([row | {"user_id": "me"} for row in ROWS]),
        ["field 'user_id': one user only"],
    ),
    "no unseen users": (
        "a.jsonl",
        jsonl(ROWS[::24]),
        ["field 'user_id': no unseen users possible"],
    ),
}


def assert_refused(result: Result, *fragments: str) -> None:
    """Exit code 2, and a short message on standard error alone that says all of this."""
    assert result.code == 2, result
    assert result.out == ""
    for fragment in fragments:
        assert fragment in result.err
    assert "Traceback" not in result.err
    assert result.err.startswith(("error: ", "Usage: "))
    assert len(result.err.splitlines()) <= 7
    assert max(map(len, result.err.splitlines())) < 500


def put(folder: Path, name: str, content: bytes) -> Path:
    (folder / name).write_bytes(content)
    return folder / name


@pytest.mark.parametrize("case", [*BAD_FILES, *UNFIT_FILES])
def test_training_on_a_bad_file(case: str, desk: Desk, palate: Palate, tmp_path: Path) -> None:
    name, content, fragments = (BAD_FILES | UNFIT_FILES)[case]
    file = put(tmp_path, name, content)
    out = Path(shutil.copytree(desk.run, tmp_path / "run"))
    before = world.contents(tmp_path)
    result = palate(*desk.train(out, "--overwrite", "--json", file=file))
    assert_refused(result, str(file), *fragments)
    assert world.contents(tmp_path) == before


@pytest.mark.parametrize("case", BAD_FILES)
def test_adapting_to_a_bad_file(case: str, desk: Desk, palate: Palate, tmp_path: Path) -> None:
    name, content, fragments = BAD_FILES[case]
    file = put(tmp_path, name, content)
    (tmp_path / "alice.json").write_text("was here")
    before = world.contents(tmp_path)
    result = palate(*desk.adapt(tmp_path / "alice.json", file, "--json"))
    assert_refused(result, str(file), *fragments)
    assert world.contents(tmp_path) == before


@pytest.mark.parametrize("case", [*BAD_FILES, *UNFIT_FILES])
def test_checking_a_bad_file(case: str, palate: Palate, tmp_path: Path) -> None:
    name, content, fragments = (BAD_FILES | UNFIT_FILES)[case]
    file = put(tmp_path, name, content)
    before = world.contents(tmp_path)
    result = palate("data", "check", file, "--json")
    assert result.code == 2
    assert result.err == ""
    assert result.json["ok"] is False
    told = palate("data", "check", file)
    assert told.code == 2
    assert "Traceback" not in told.err
    for fragment in (str(file), *fragments):
        assert fragment in told.err
    assert told.err.count("problem: ") == len(result.json["problems"])
    assert world.contents(tmp_path) == before


@pytest.mark.parametrize("case", ["missing column in csv", "half-written parquet", "weight NaN"])
def test_evaluating_on_a_bad_file(case: str, desk: Desk, palate: Palate, tmp_path: Path) -> None:
    name, content, fragments = BAD_FILES[case]
    file = put(tmp_path, name, content)
    before = world.contents(desk.run)
    result = palate("evaluate", desk.run, "--data", file, "--cache", desk.cache, "--json")
    assert_refused(result, str(file), *fragments)
    assert world.contents(desk.run) == before


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet", "a.csv.gz"])
@pytest.mark.parametrize(("kind", "fault"), [("folder", "not a file"), ("nothing", "no such file")])
def test_a_folder_or_nothing_in_place_of_a_file(
    name: str, kind: str, fault: str, desk: Desk, palate: Palate, tmp_path: Path
) -> None:
    file = tmp_path / name
    if kind == "folder":
        file.mkdir()
    assert_refused(palate(*desk.train(tmp_path / "run", file=file)), str(file), fault)
    assert palate("data", "check", file, "--json").code == 2
    assert not (tmp_path / "run").exists()


def test_a_name_that_is_too_long_or_no_text(desk: Desk, palate: Palate, tmp_path: Path) -> None:
    for name in ("x" * 300 + ".csv", "caf\udce9.csv"):
        assert_refused(
            palate(*desk.train(tmp_path / "run", file=tmp_path / name)),
            "x" * 300 if "x" in name else "caf",
        )
    assert palate("data", "check", tmp_path / "caf\udce9.csv", "--json").json["ok"] is False


def test_checking_lists_all_problems_and_training_the_first(
    desk: Desk, palate: Palate, tmp_path: Path
) -> None:
    rows = [row | {"prompt": "", "chosen": 3} for row in ROWS]
    file = put(tmp_path, "a.jsonl", jsonl(rows) + b"broken\n")
    problems = palate("data", "check", file, "--json").json["problems"]
    assert len(problems) == 2 * len(rows) + 1
    result = palate(*desk.train(tmp_path / "run", file=file))
    assert_refused(result, f"and {2 * len(rows) - 4} more; `palate data check` lists them all")


# -- words of a command ---------------------------------------------------------------------------

Words = Callable[[Desk, Path], list[object]]

#: What is asked for, and what is said of it.
BAD_WORDS: dict[str, tuple[Words, list[str]]] = {
    "no file": (lambda desk, tmp: ["train"], ["Missing argument"]),
    "no out": (lambda desk, tmp: ["train", desk.comparisons], ["Missing option '--out'"]),
    "unknown command": (lambda desk, tmp: ["trian"], ["No such command 'trian'"]),
    "unknown option": (
        lambda desk, tmp: desk.train(tmp / "x", "--epochs", 3),
        ["No such option: --epochs"],
    ),
    "unknown method": (
        lambda desk, tmp: desk.train(tmp / "x", "--method", "lora"),
        ["unknown method 'lora'; expected one of ref, bt, per_user,"],
    ),
    "unknown backbone": (
        lambda desk, tmp: desk.train(tmp / "x", "--backbone", "minilmm"),
        ["unknown backbone 'minilmm': expected 'minilm', a folder"],
    ),
    "backbone that is not there": (
        lambda desk, tmp: desk.train(tmp / "x", "--backbone", tmp / "no"),
        ["unknown backbone"],
    ),
    "backbone without weights": (
        lambda desk, tmp: desk.train(tmp / "x", "--backbone", tmp),
        ["backbone folder", "empty holds no"],
    ),
    "unknown setting": (
        lambda desk, tmp: desk.train(tmp / "x", "--set", "basis=3"),
        ["unknown setting basis; expected one of steps"],
    ),
    "setting of another method": (
        lambda desk, tmp: desk.train(tmp / "x", "--method", "bt", "--set", "bases=3"),
        ["unknown setting bases"],
    ),
    "setting in words": (
        lambda desk, tmp: desk.train(tmp / "x", "--set", "bases=many"),
        ["setting bases is 'many'"],
    ),
    "setting out of range": (
        lambda desk, tmp: desk.train(tmp / "x", "--set", "bases=1"),
        ["setting bases is 1; expected 2 or more"],
    ),
    "setting that is no number": (
        lambda desk, tmp: desk.train(tmp / "x", "--set", "learning_rate=NaN"),
        ["setting learning_rate is nan"],
    ),
    "setting without value": (
        lambda desk, tmp: desk.train(tmp / "x", "--set", "bases"),
        ["'bases' is no setting; expected name=value"],
    ),
    "unknown split": (
        lambda desk, tmp: desk.train(tmp / "x", "--split", "texts"),
        ["'texts' is not one of 'users', 'groups'"],
    ),
    "split by groups without groups": (
        lambda desk, tmp: desk.train(tmp / "x", "--split", "groups"),
        ["comparisons.jsonl, field 'group': column is missing"],
    ),
    "too many comparisons asked for": (
        lambda desk, tmp: desk.train(tmp / "x", "--min-comparisons", 999),
        ["no unseen users possible: 0 of the 12 users have 999 comparisons"],
    ),
    "no comparisons asked for": (
        lambda desk, tmp: desk.train(tmp / "x", "--min-comparisons", 0),
        ["min_comparisons"],
    ),
    "seed in words": (
        lambda desk, tmp: desk.train(tmp / "x", "--seed", "one"),
        ["Invalid value for '--seed'"],
    ),
    "seed below zero": (
        lambda desk, tmp: desk.train(tmp / "x", "--seed", -1),
        ["Invalid value for '--seed'"],
    ),
    "seed beyond all bounds": (
        lambda desk, tmp: desk.train(tmp / "x", "--seed", 2**64),
        ["Invalid value for '--seed'"],
    ),
    "cache that is a file": (
        lambda desk, tmp: [*desk.train(tmp / "x"), "--cache", desk.candidates],
        ["cache", "candidates.txt"],
    ),
    "out exists": (
        lambda desk, tmp: desk.train(desk.run),
        ["run exists already: name another folder, or pass --overwrite"],
    ),
    "out is a file": (
        lambda desk, tmp: desk.train(desk.answers, "--overwrite"),
        ["answers.jsonl is a file; name a folder"],
    ),
    "out is under a file": (
        lambda desk, tmp: desk.train(desk.answers / "run"),
        ["answers.jsonl is a file"],
    ),
    "out holds other things": (
        lambda desk, tmp: desk.train(desk.run.parent, "--overwrite"),
        ["nothing of ours: name another folder"],
    ),
    "no model": (
        lambda desk, tmp: ["evaluate", tmp / "no"],
        ["no model in", "expected a folder that `palate train --out` wrote"],
    ),
    "backbone for a model": (
        lambda desk, tmp: ["evaluate", desk.backbone],
        ["config.json is no model's configuration"],
    ),
    "no user file": (
        lambda desk, tmp: desk.rank("--user", tmp / "no.json"),
        ["no.json cannot be read"],
    ),
    "answers for a user file": (
        lambda desk, tmp: desk.rank("--user", desk.answers),
        ["answers.jsonl"],
    ),
    "no candidates": (
        lambda desk, tmp: desk.rank(candidates=tmp / "no.txt"),
        ["no.txt: cannot be read"],
    ),
    "candidates of another kind": (
        lambda desk, tmp: desk.rank(candidates=desk.run / CONFIG),
        ["config.json: expected a list of responses, found dict"],
    ),
    "empty prompt": (
        lambda desk, tmp: [*desk.rank(), "--prompt", " "],
        ["--prompt: the text is empty"],
    ),
    "prompt that is no text": (
        lambda desk, tmp: [*desk.rank(), "--prompt", "caf\udce9"],
        ["--prompt: the text holds half a surrogate pair"],
    ),
    "answers of several users": (
        lambda desk, tmp: desk.adapt(tmp / "u.json", desk.comparisons),
        ["comparisons.jsonl, field 'user_id': answers of 12 users (user 0, user 1, user 2, ...)"],
    ),
    "user file is a folder": (lambda desk, tmp: desk.adapt(tmp), ["it is no file; name a file"]),
    "user file under a file": (
        lambda desk, tmp: desk.adapt(desk.answers / "alice.json"),
        ["cannot write"],
    ),
}


@pytest.mark.parametrize("case", BAD_WORDS)
def test_bad_words_of_a_command(case: str, desk: Desk, palate: Palate, tmp_path: Path) -> None:
    words, fragments = BAD_WORDS[case]
    folder = tmp_path / "empty"
    folder.mkdir()
    before = world.contents(desk.run.parent)
    result = palate(*words(desk, folder), "--json")
    assert_refused(result, *fragments)
    assert world.contents(desk.run.parent) == before
    assert world.contents(tmp_path) == {"empty": None}


# -- models and users that are not whole ----------------------------------------------------------


def remove(path: Path) -> None:
    path.unlink()


def halve(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [remove, halve, flip])
@pytest.mark.parametrize("name", [CONFIG, METHOD_TENSORS, TRAINING_TENSORS, REPORT])
def test_a_damaged_model(
    name: str, damage: Callable[[Path], None], desk: Desk, palate: Palate, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(desk.run, tmp_path / "run"))
    damage(run / name)
    before = world.contents(tmp_path)
    for words in (
        ["evaluate", run],
        ["adapt", run, desk.answers, "--out", tmp_path / "alice.json"],
        ["rank", run, desk.candidates, "--prompt", "p"],
    ):
        result = palate(*words, "--json", "--cache", desk.cache)
        assert_refused(result, str(run), name, "train again")
    assert world.contents(tmp_path) == before


def test_a_model_of_a_newer_format(desk: Desk, palate: Palate, tmp_path: Path) -> None:
    (tmp_path / CONFIG).write_text('{"format": 7}')
    assert_refused(palate("evaluate", tmp_path, "--json"), "has format 7", "upgrade palate")


def damaged_user(path: Path) -> None:
    flip(path)


def older_user(path: Path) -> None:
    path.write_text(re.sub(r'"format": \d+', '"format": 0', path.read_text()))


def half_user(path: Path) -> None:
    halve(path)


@pytest.mark.parametrize("damage", [damaged_user, older_user, half_user])
def test_a_damaged_user(
    damage: Callable[[Path], None], desk: Desk, palate: Palate, tmp_path: Path
) -> None:
    user = tmp_path / "alice.json"
    assert palate(*desk.adapt(user)).code == 0
    damage(user)
    before = world.contents(tmp_path)
    assert_refused(palate(*desk.rank("--user", user, "--json")), str(user))
    assert_refused(palate(*desk.adapt(user, None, "--user", user, "--json")), str(user))
    assert world.contents(tmp_path) == before


def test_a_user_of_another_model(desk: Desk, palate: Palate, tmp_path: Path) -> None:
    user, other = tmp_path / "alice.json", tmp_path / "other"
    assert palate(*desk.train(other, "--method", "bt")).code == 0
    assert palate("adapt", other, desk.answers, "--out", user, "--cache", desk.cache).code == 0
    result = palate(*desk.rank("--user", user, "--json"))
    assert_refused(result, f"{user} belongs to model", "adapt again from the user's answers")


def test_comparisons_that_are_gone_are_asked_for(
    desk: Desk, palate: Palate, tmp_path: Path
) -> None:
    file = Path(shutil.copy(desk.comparisons, tmp_path / "gone.jsonl"))
    assert palate(*desk.train(tmp_path / "run", "--method", "bt", file=file)).code == 0
    file.unlink()
    result = palate("evaluate", tmp_path / "run", "--json", "--cache", desk.cache)
    assert_refused(result, str(file), "name them with --data")
