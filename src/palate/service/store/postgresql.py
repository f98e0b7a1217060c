"""PostgreSQL's side: short timeouts everywhere, so that nobody waits for a server that is gone."""

from __future__ import annotations

from typing import Any

from sqlalchemy import URL, Engine, text

#: Tables that lose rows.
SHRINKING = ("users", "entries", "completions", "posteriors")


def connectable(url: URL) -> URL:
    """The URL itself."""
    return url


def connect_arguments(url: URL, timeout: float) -> dict[str, Any]:
    """Timeouts of connecting, of the network, of locks and of statements; the URL's come first."""
    milliseconds = int(1000 * timeout)
    settings = {
        "statement_timeout": milliseconds,
        "lock_timeout": milliseconds,
        "idle_in_transaction_session_timeout": 2 * milliseconds,
    }
    arguments: dict[str, Any] = {
        "application_name": "palate",
        "connect_timeout": max(2, int(timeout)),
        "keepalives_idle": 10,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": 2 * milliseconds,
        "options": " ".join(f"-c {name}={value}" for name, value in settings.items()),
    }
    return {name: value for name, value in arguments.items() if name not in url.query}


def prepare(engine: Engine) -> Engine:
    """The engine for reading: no transaction, and so one way to the server and back."""
    return engine.execution_options(isolation_level="AUTOCOMMIT")


def wipe(engine: Engine) -> bool:
    """Free the rows that were deleted; their bytes stay until their space is used again."""
    with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(text("SET statement_timeout = 0"))
        try:
            for table in SHRINKING:
                connection.execute(text(f"VACUUM {table}"))
        finally:
            connection.execute(text("RESET statement_timeout"))
    return False
