"""INSERT ... ON CONFLICT, which both databases have and SQLAlchemy keeps apart."""

from __future__ import annotations

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite


def upsert(dialect: str, table: Table) -> postgresql.Insert:
    """An insertion in the words of a database; both are used alike here."""
    if dialect == "sqlite":
        return sqlite.insert(table)  # type: ignore[return-value]
    return postgresql.insert(table)
