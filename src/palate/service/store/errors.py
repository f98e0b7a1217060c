"""What the store refuses, by what its caller can do about it."""

from __future__ import annotations

from palate.errors import StoreError


class StoreUnavailable(StoreError):  # noqa: N818
    """The database does not answer: nothing was acknowledged; try again in `retry_after` s.

    Whether the last write was kept is not known where the connection broke while it was committed;
    repeat it with its idempotency key, and it counts once.
    """

    def __init__(self, message: str, retry_after: float = 1.0) -> None:
        super().__init__(f"{message}; try again in {retry_after:g} s")
        self.retry_after = retry_after


class NotFound(StoreError):  # noqa: N818
    """There is no such thing here: it never was, is gone, or is another tenant's."""


class Conflict(StoreError):  # noqa: N818
    """What is asked for contradicts what is stored: a key used twice, a name that is taken."""


class InvalidEntry(StoreError):  # noqa: N818
    """A value that cannot be stored; says which and what was expected."""


class Refused(StoreError):  # noqa: N818
    """An API key that is unknown, revoked, expired or without the scope."""


class QuotaReached(StoreError):  # noqa: N818
    """A tenant, a key or a user has all that is allowed."""
