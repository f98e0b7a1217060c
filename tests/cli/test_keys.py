"""`palate keys` makes, lists, rotates and revokes."""

from __future__ import annotations

from pathlib import Path

import pytest

from palate.service.store import Refused, Store
from tests.cli.conftest import Palate


@pytest.fixture
def database(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'palate.db'}"


def accepts(database: str, text: str) -> bool:
    store = Store.open(database)
    try:
        store.keys.check(text.strip())
    except Refused:
        return False
    finally:
        store.close()
    return True


def test_a_key_is_printed_alone(palate: Palate, database: str) -> None:
    made = palate("keys", "create", "--database", database, "--name", "app")
    assert made.code == 0
    assert made.out.startswith("palate_")
    assert len(made.out.splitlines()) == 1
    assert "cannot be shown again" in made.err
    assert accepts(database, made.out)
    listed = palate("keys", "list", "--database", database)
    assert "app" in listed.out
    assert "read, write" in listed.out
    assert made.out.strip() not in listed.out


def test_keys_for_programs(palate: Palate, database: str) -> None:
    words = ("--scope", "admin", "--days", 2, "--per-second", 5, "--per-day", 100, "--json")
    made = palate("keys", "create", "--database", database, *words).json
    assert made["scopes"] == ["admin"]
    assert made["ends"] == pytest.approx(made["created"] + 2 * 86400, abs=5)
    (listed,) = palate("keys", "list", "--database", database, "--json").json["keys"]
    assert listed == {name: value for name, value in made.items() if name != "text"}
    assert (listed["per_second"], listed["per_day"]) == (5, 100)


def test_rotate_and_revoke(palate: Palate, database: str) -> None:
    first = palate("keys", "create", "--database", database, "--json").json
    second = palate("keys", "rotate", first["public"], "--database", database, "--json").json
    assert accepts(database, first["text"])
    assert accepts(database, second["text"])
    at_once = ("--grace", 0, "--json")
    third = palate("keys", "rotate", second["public"], "--database", database, *at_once).json
    assert not accepts(database, second["text"])
    assert palate("keys", "revoke", third["public"], "--database", database).code == 0
    assert not accepts(database, third["text"])
    table = palate("keys", "list", "--database", database).out
    assert table.count("ended") == 2
    assert table.count("until") == 1


def test_what_is_wrong_is_said(palate: Palate, database: str, tmp_path: Path) -> None:
    refused = palate("keys", "create", "--database", database, "--scope", "root")
    assert (refused.code, refused.out) == (2, "")
    assert "expected some of read, write, admin" in refused.err
    for words in (("list",), ("revoke", "abc"), ("rotate", "abc")):
        missing = palate("keys", *words, "--database", f"sqlite:///{tmp_path / 'typo.db'}")
        assert missing.code == 2
        assert "there is no database" in missing.err
    assert not (tmp_path / "typo.db").exists()
    unknown = palate("keys", "revoke", "abc", "--database", database)
    assert (unknown.code, unknown.err.count("\n")) == (2, 1)
    assert "'abc'" in unknown.err
    nobody = palate("keys", "list", "--tenant", "nobody", "--database", database)
    assert nobody.code == 2
    for url in ("nothing", f"sqlite:///{tmp_path}/no/folder.db", "mysql://host/name"):
        assert palate("keys", "list", "--database", url).code == 2


def test_the_database_of_the_environment(
    palate: Palate, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PALATE_DATABASE", database)
    made = palate("keys", "create", "--tenant", "team")
    assert accepts(database, made.out)
    assert palate("keys", "list", "--tenant", "team", "--json").json["tenant"] == "team"
