"""The tables. Times are UTC seconds since 1970; a change here needs a new migration.

tenants -> api_keys -> usage      who may ask, and what was asked today
tenants -> users -> entries       the truth: a user's log, numbered 1, 2, ... without a gap
                 -> completions   what was served, so that feedback can name it
                 -> posteriors    derived: what a model makes of the first `through` entries
models, serving                   the models that posteriors are of, and which one serves
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

#: So that a later migration can name what it changes, on both databases alike.
NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
METADATA = MetaData(naming_convention=NAMES)
#: SQLite numbers rows by INTEGER alone. With `sqlite_autoincrement`, as always on PostgreSQL, no
#: number is given twice: a stale worker must not meet another user under that of an erased one.
NUMBER = BigInteger().with_variant(Integer, "sqlite")
#: Pages of rows that change keep room for their next versions, so that no index has to follow.
ROOM = {"fillfactor": 75}


def _of(table: str) -> ForeignKey:
    return ForeignKey(f"{table}.id", ondelete="CASCADE")


TENANTS = Table(
    "tenants",
    METADATA,
    Column("id", NUMBER, primary_key=True),
    Column("name", String(256), nullable=False, unique=True),
    Column("created", Double, nullable=False),
    sqlite_autoincrement=True,
)

API_KEYS = Table(
    "api_keys",
    METADATA,
    Column("id", NUMBER, primary_key=True),
    Column("tenant_id", NUMBER, _of("tenants"), nullable=False, index=True),
    Column("public", String(16), nullable=False, unique=True),
    Column("digest", LargeBinary(32), nullable=False, unique=True),
    Column("name", String(256), nullable=False),
    Column("scopes", String(64), nullable=False),
    Column("created", Double, nullable=False),
    Column("ends", Double),
    Column("per_second", Double),
    Column("per_day", Integer),
    sqlite_autoincrement=True,
)

USAGE = Table(
    "usage",
    METADATA,
    Column("key_id", NUMBER, _of("api_keys"), primary_key=True),
    Column("day", Integer, primary_key=True),
    Column("used", BigInteger, nullable=False),
)

USERS = Table(
    "users",
    METADATA,
    Column("id", NUMBER, primary_key=True),
    Column("tenant_id", NUMBER, _of("tenants"), nullable=False),
    Column("name", String(256), nullable=False),
    Column("created", Double, nullable=False),
    Column("entries", BigInteger, nullable=False),
    UniqueConstraint("tenant_id", "name"),
    sqlite_autoincrement=True,
    postgresql_with=ROOM,
)

ENTRIES = Table(
    "entries",
    METADATA,
    Column("user_id", NUMBER, _of("users"), primary_key=True),
    Column("number", BigInteger, primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("received", Double, nullable=False),
    Column("idempotency", String(256)),
    Column("part", Integer, nullable=False),
    Column("target", BigInteger),
    Column("prompt", Text),
    Column("chosen", Text),
    Column("rejected", Text),
    Column("time", Double),
    Column("weight", Double),
    Column("tie", Boolean),
    Column("origin", String(32)),
    Column("completion", String(256)),
    CheckConstraint("kind IN ('answer', 'withdrawal', 'expiry')", name="kind"),
    CheckConstraint("(kind = 'answer') = (target IS NULL)", name="target"),
    *(
        CheckConstraint(f"(kind = 'answer') = ({column} IS NOT NULL)", name=column)
        for column in ("prompt", "chosen", "rejected", "time", "weight", "tie")
    ),
    Index("ix_entries_received", "received"),
    Index(
        "ix_entries_once",
        *("user_id", "idempotency", "part"),
        unique=True,
        sqlite_where=text("idempotency IS NOT NULL"),
        postgresql_where=text("idempotency IS NOT NULL"),
    ),
)

COMPLETIONS = Table(
    "completions",
    METADATA,
    Column("tenant_id", NUMBER, _of("tenants"), primary_key=True),
    Column("id", String(256), primary_key=True),
    Column("user_id", NUMBER, _of("users"), nullable=False, index=True),
    Column("created", Double, nullable=False, index=True),
    Column("prompt", Text, nullable=False),
    Column("candidates", Text, nullable=False),
    Column("choice", Integer, nullable=False),
    Column("model", String(128), nullable=False),
)

MODELS = Table(
    "models",
    METADATA,
    Column("id", NUMBER, primary_key=True),
    Column("identity", String(128), nullable=False, unique=True),
    Column("created", Double, nullable=False),
    sqlite_autoincrement=True,
)

SERVING = Table(
    "serving",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("model_id", NUMBER, ForeignKey("models.id"), nullable=False),
    Column("since", Double, nullable=False),
    CheckConstraint("id = 1", name="one"),
)

POSTERIORS = Table(
    "posteriors",
    METADATA,
    Column("user_id", NUMBER, _of("users"), primary_key=True),
    Column("model_id", NUMBER, _of("models"), primary_key=True),
    Column("through", BigInteger, nullable=False),
    Column("state", LargeBinary, nullable=False),
    Column("posterior", LargeBinary, nullable=False),
    postgresql_with=ROOM,
)
