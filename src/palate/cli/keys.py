"""`palate keys`: who may ask the service, and for what."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from palate.cli.output import JsonOption, note, print_json, print_table

if TYPE_CHECKING:
    from palate.service.store import ApiKey, Store

#: Where the service keeps its things unless told otherwise.
DATABASE = "sqlite:///palate.db"
TENANT = "default"

DatabaseOption = Annotated[
    str,
    typer.Option(envvar="PALATE_DATABASE", help="sqlite:///palate.db, or postgresql://host/name."),
]
TenantOption = Annotated[str, typer.Option(help="Whose key; users are apart by tenant.")]
KeyArgument = Annotated[str, typer.Argument(help="The key, as `palate keys list` names it.")]


def create(
    scope: Annotated[
        list[str] | None, typer.Option(help="read, write or admin; may be given several times.")
    ] = None,
    name: Annotated[str, typer.Option(help="What the key is for.")] = "key",
    days: Annotated[float | None, typer.Option(help="Accept it for so long.")] = None,
    per_second: Annotated[float | None, typer.Option(help="Requests a second.")] = None,
    per_day: Annotated[int | None, typer.Option(help="Requests a day.")] = None,
    tenant: TenantOption = TENANT,
    database: DatabaseOption = DATABASE,
    as_json: JsonOption = False,
) -> None:
    """Make a key, and print its text; it is kept as a hash alone, and cannot be shown again.

    Example: palate keys create --scope read --scope write --name app
    """
    with _opened(database, make=True) as store:
        owner = store.tenants.ensure(tenant).id
        ends = None if days is None else store.clock() + 86400 * days
        limits: dict[str, Any] = {"ends": ends, "per_second": per_second, "per_day": per_day}
        key, text = store.keys.create(owner, scope or ["read", "write"], name, **limits)
    _show_text(key, text, as_json)


def list_keys(
    tenant: TenantOption = TENANT,
    database: DatabaseOption = DATABASE,
    as_json: JsonOption = False,
) -> None:
    """List a tenant's keys, also those that are no longer accepted.

    Example: palate keys list --database sqlite:///palate.db
    """
    with _opened(database) as store:
        owner = store.tenants.named(tenant).id
        keys, now = store.keys.all(owner), store.clock()
    if as_json:
        print_json({"tenant": tenant, "keys": [_content(key, now) for key in keys]})
        return
    columns = ("key", "name", "scopes", "made", "accepted", "a second", "a day")
    rows = [
        (
            *(key.public, key.name, ", ".join(sorted(key.scopes)), _date(key.created)),
            ("until " if key.active(now) else "ended ") + _date(key.ends) if key.ends else "yes",
            *(_limit(key.per_second), _limit(key.per_day)),
        )
        for key in keys
    ]
    print_table(f"Keys of {tenant}", columns, rows, words=columns[:5])


def revoke(
    key: KeyArgument, tenant: TenantOption = TENANT, database: DatabaseOption = DATABASE
) -> None:
    """Accept a key no longer, from now on.

    Example: palate keys revoke 3f95d06147fa
    """
    with _opened(database) as store:
        store.keys.revoke(store.tenants.named(tenant).id, key)
    note(f"key {key} is no longer accepted")


def rotate(
    key: KeyArgument,
    grace: Annotated[float, typer.Option(help="Hours that the old key is still accepted.")] = 24.0,
    tenant: TenantOption = TENANT,
    database: DatabaseOption = DATABASE,
    as_json: JsonOption = False,
) -> None:
    """Make a key that may do what another may, and let that one end.

    Example: palate keys rotate 3f95d06147fa --grace 24
    """
    with _opened(database) as store:
        owner = store.tenants.named(tenant).id
        new, text = store.keys.rotate(owner, key, 3600 * grace)
    _show_text(new, text, as_json)


@contextmanager
def _opened(database: str, *, make: bool = False) -> Iterator[Store]:
    from palate.service.store import Store

    store = Store.open(database, make=make)
    try:
        yield store
    finally:
        store.close()


def _show_text(key: ApiKey, text: str, as_json: bool) -> None:
    if as_json:
        print_json({**_content(key, key.created), "text": text})
        return
    note(f"key {key.public} ({', '.join(sorted(key.scopes))}); it cannot be shown again:")
    typer.echo(text)


def _content(key: ApiKey, now: float) -> dict[str, Any]:
    names = ("public", "name", "created", "ends", "per_second", "per_day")
    content = {name: getattr(key, name) for name in names}
    return {**content, "scopes": sorted(key.scopes), "active": key.active(now)}


def _date(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M")


def _limit(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"
