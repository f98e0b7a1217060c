"""Who the user is, and the name by which an upstream knows the same user."""

from __future__ import annotations

import hashlib
import hmac

from fastapi import Request

from palate.service.http.errors import ApiError, invalid
from palate.service.http.schema import OfUser
from palate.service.store.texts import LONGEST_NAME

HEADER = "x-palate-user"


def user_of(request: Request, body: OfUser | None = None) -> str | None:
    """The user whom a request names, or None; raises `ApiError` for a name that is none."""
    header = request.headers.get(HEADER)
    if header is not None:
        return checked_user(_decoded(header), HEADER)
    if body is None:
        return None
    in_metadata = (body.metadata or {}).get("user_id")
    if in_metadata is not None and not isinstance(in_metadata, str):
        raise invalid("metadata.user_id is no text", "metadata.user_id")
    named = {
        "metadata.user_id": in_metadata,
        "user": body.user,
        "safety_identifier": body.safety_identifier,
    }
    for field, value in named.items():
        if value:
            return checked_user(value, field)
    return None


def the_user(request: Request, body: OfUser | None = None) -> str:
    """The same where there must be one."""
    user = user_of(request, body)
    if user is None:
        raise invalid("no user is named; give `user`, or the header X-Palate-User", "user")
    return user


def checked_user(user: str, field: str = "user") -> str:
    """A user's id that can stand in a path; raises `ApiError`."""
    if not 1 <= len(user) <= LONGEST_NAME:
        raise invalid(f"a user's id has 1 to {LONGEST_NAME} characters", field)
    if user in (".", "..") or "/" in user or not user.isprintable():
        raise invalid(
            "a user's id holds no slash and no control character, and is neither . nor ..; "
            "send a hash of it",
            field,
        )
    return user


class Pseudonyms:
    """Users' names for others: keyed hashes, by tenant, that tell nothing without the secret."""

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()

    def of(self, tenant: int, user: str) -> str:
        """A user's name upstream and in logs."""
        message = f"{tenant}\x00{user}".encode(errors="surrogatepass")
        return "palate-" + hmac.new(self._secret, message, hashlib.sha256).hexdigest()[:32]


def _decoded(header: str) -> str:
    """Header bytes are read as Latin-1; what clients send is UTF-8."""
    try:
        return header.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        raise ApiError(400, "invalid_header", "the header X-Palate-User is not UTF-8") from None
