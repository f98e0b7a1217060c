"""What is sent for each thing that the service does, whoever sends it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import quote

from palate.client.answers import TextLike

Pair = Mapping[str, TextLike]


@dataclass(frozen=True)
class Call:
    """One request: method, path, and what goes with it."""

    method: str
    path: str
    body: Mapping[str, Any] | None = None
    query: Mapping[str, Any] = field(default_factory=dict)


def score(user: str, prompt: TextLike, responses: Sequence[TextLike]) -> Call:
    """Rewards of responses."""
    body = {"user": user, "prompt": prompt, "responses": list(responses)}
    return Call("POST", "/v1/score", body)


def rerank(user: str, query: TextLike, documents: Sequence[str], top_n: int | None) -> Call:
    """Documents in order."""
    body = {"user": user, "query": query, "documents": list(documents), "top_n": top_n}
    return Call("POST", "/v1/rerank", body | {"return_documents": False})


def compare(
    user: str,
    prompt: TextLike,
    chosen: TextLike,
    rejected: TextLike,
    *,
    tie: bool,
    weight: float,
    time: float | None,
    key: str | None,
) -> Call:
    """A comparison by its texts."""
    body = {"type": "comparison", "user": user, "prompt": prompt, "chosen": chosen}
    return _feedback(
        {**body, "rejected": rejected, "tie": tie, "weight": weight, "time": time}, key
    )


def thumb(completion: str, value: Literal["up", "down"], choice: int, key: str | None) -> Call:
    """A thumb on a served answer."""
    body = {"type": "thumb", "completion_id": completion, "value": value, "choice": choice}
    return _feedback(body, key)


def order(user: str, prompt: TextLike, texts: Sequence[TextLike], key: str | None) -> Call:
    """Texts in order, the best first."""
    body = {"type": "ranking", "user": user, "prompt": prompt, "order": list(texts)}
    return _feedback(body, key)


def _feedback(body: dict[str, Any], key: str | None) -> Call:
    """Feedback is sent under a key, so that it counts once however often it is sent."""
    body["idempotency_key"] = key or secrets.token_hex(16)
    return Call("POST", "/v1/feedback", {k: v for k, v in body.items() if v is not None})


def question(user: str, pool: Sequence[Pair] | None, count: int, rule: str) -> Call:
    """The pairs to ask next."""
    body: dict[str, Any] = {"count": count, "rule": rule}
    if pool is not None:
        body["pool"] = [dict(pair) for pair in pool]
    return Call("POST", of_user(user, "/question"), body)


def users(after: str, limit: int) -> Call:
    """A page of users' ids."""
    return Call("GET", "/v1/users", query={"after": after, "limit": limit})


def answers(user: str, after: int, limit: int) -> Call:
    """A page of a user's log."""
    return Call("GET", of_user(user, "/answers"), query={"after": after, "limit": limit})


def of_user(user: str, rest: str = "") -> str:
    """A path of a user's."""
    return f"/v1/users/{quote(user, safe='')}{rest}"
