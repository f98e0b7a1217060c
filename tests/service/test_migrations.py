"""One set of tables for both databases, made by one process at a time, never changed afterwards."""

from __future__ import annotations

import hashlib
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from palate.errors import StoreError
from palate.service.store import Store
from palate.service.store import migrate as migrating
from palate.service.store.database import Database
from palate.service.store.schema import METADATA

VERSIONS = migrating.FOLDER / "versions"
#: What was released stays as it was: a change is a new file, and its hash is added here.
RELEASED = {
    "0001_tables.py": "781241eda15a54a7",
}


def test_what_was_released_stays_as_it_was() -> None:
    found = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        for path in sorted(VERSIONS.glob("*.py"))
    }
    assert found == RELEASED


def test_the_migrations_make_the_tables(store: Store) -> None:
    with store.database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, METADATA) == []
    store.check()


def test_a_second_start_changes_nothing(store: Store, url: str) -> None:
    tenant = store.tenants.create("team")
    again = Store.open(url)
    assert again.tenants.named("team").id == tenant.id
    again.close()


START = "import sys; from palate.service.store import Store; Store.open(sys.argv[1]).check()"


def test_processes_that_start_at_once_wait_for_each_other(url: str) -> None:
    started = [
        subprocess.Popen([sys.executable, "-c", START, url], stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    for each in started:
        _, said = each.communicate(timeout=60)
        assert each.returncode == 0, said.decode()


def test_tables_of_a_newer_palate_are_refused(store: Store, url: str) -> None:
    with store.database.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreError, match=r"version 9999, newer than .* upgrade palate"):
        Store.open(url)
    with pytest.raises(StoreError, match="9999"):
        store.check()


def test_a_database_without_tables_is_told(url: str) -> None:
    database = Database(url)
    if database.is_sqlite:
        Path(database.url.database or "").touch()
    with pytest.raises(StoreError, match="tables of version none, expected 0001"):
        migrating.check(database)
    database.close()


def test_a_migration_that_fails_leaves_nothing(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stops half way: no table is there, and the next start makes them all."""
    from alembic import op

    make, made = op.create_table, []

    def failing(name: str, *columns: object, **more: object) -> object:
        if len(made) == 3:
            raise RuntimeError("no more")
        made.append(name)
        return make(name, *columns, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(op, "create_table", failing)
    with pytest.raises(RuntimeError, match="no more"):
        Store.open(url)
    monkeypatch.undo()
    database = Database(url)
    assert migrating.version_of(database) is None
    database.close()
    store = Store.open(url)
    store.check()
    store.close()


@pytest.mark.parametrize(
    "url",
    [
        *("", "palate.db", "sqlite://", "sqlite:///:memory:", "mysql://localhost/palate"),
        *("postgresql+nothing:///", "::", "sqlite:////nowhere/at/all/palate.db"),
    ],
)
def test_urls_that_name_no_database(url: str) -> None:
    with pytest.raises(StoreError):
        Store.open(url)


def test_a_sqlite_file_is_its_owners(tmp_path: Path) -> None:
    path = tmp_path / "odd #name% ?.db"
    Store.open(f"sqlite:///{tmp_path}/odd %23name%25 %3F.db").close()
    found = [each.name for each in tmp_path.iterdir()]
    assert path.name in found or len(found) == 1
    for each in tmp_path.iterdir():
        assert stat.S_IMODE(each.stat().st_mode) == 0o600
