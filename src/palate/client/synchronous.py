"""The client of programs that wait."""

from __future__ import annotations

import time as clock
from collections.abc import Sequence
from typing import Any, Literal, Self

import httpx2

from palate.client import calls
from palate.client.answers import (
    Answer,
    Erased,
    Feedback,
    Question,
    Questions,
    Reranked,
    Scored,
    TextLike,
    User,
    Withdrawn,
    read,
    read_list,
)
from palate.client.calls import Call, Pair
from palate.client.errors import ServiceError
from palate.client.transport import content_of, options, parts, unreachable, wait


class Palate:
    """The service at an address, as http://127.0.0.1:8080, with a key. A context manager.

    What fails in passing is sent again, feedback under a key of its own, so that it counts once.
    Raises `ServiceError`.
    """

    def __init__(self, url: str, key: str, *, timeout: float = 60.0) -> None:
        self._client = httpx2.Client(**options(url, key, timeout))

    def score(self, user: str, prompt: TextLike, responses: Sequence[TextLike]) -> list[Scored]:
        """A user's expected rewards of responses, in their order."""
        return read_list(Scored, self.send(calls.score(user, prompt, responses)))

    def rerank(
        self, user: str, query: TextLike, documents: Sequence[str], top_n: int | None = None
    ) -> list[Reranked]:
        """Documents in the order of a user's expected reward."""
        content = self.send(calls.rerank(user, query, documents, top_n))
        return read_list(Reranked, content, "results")

    def compare(
        self,
        user: str,
        prompt: TextLike,
        chosen: TextLike,
        rejected: TextLike,
        *,
        tie: bool = False,
        weight: float = 1.0,
        time: float | None = None,
        idempotency_key: str | None = None,
    ) -> Feedback:
        """Tell that a user prefers one response to another."""
        given: dict[str, Any] = {"tie": tie, "weight": weight, "time": time}
        call = calls.compare(user, prompt, chosen, rejected, **given, key=idempotency_key)
        return read(Feedback, self.send(call))

    def thumb(
        self,
        completion: str,
        value: Literal["up", "down"],
        *,
        choice: int = 0,
        idempotency_key: str | None = None,
    ) -> Feedback:
        """Tell what a user thinks of a served completion, by its id."""
        call = calls.thumb(completion, value, choice, idempotency_key)
        return read(Feedback, self.send(call))

    def order(
        self,
        user: str,
        prompt: TextLike,
        texts: Sequence[TextLike],
        *,
        idempotency_key: str | None = None,
    ) -> Feedback:
        """Tell a user's order of responses, the best first."""
        return read(Feedback, self.send(calls.order(user, prompt, texts, idempotency_key)))

    def question(
        self,
        user: str,
        pool: Sequence[Pair] | None = None,
        *,
        count: int = 1,
        rule: str = "information",
    ) -> Questions:
        """What to ask a user next: of a pool, or of what the user was served last."""
        content = self.send(calls.question(user, pool, count, rule))
        asked = read_list(Question, content)
        return Questions(asked, content.get("change"), content.get("settled"))

    def users(self, after: str = "", limit: int = 100) -> list[str]:
        """A page of users' ids, in order."""
        return list((self.send(calls.users(after, limit)))["data"])

    def user(self, user: str) -> User:
        """What is known of a user."""
        return read(User, self.send(Call("GET", calls.of_user(user))))

    def answers(self, user: str, after: int = 0, limit: int = 100) -> list[Answer]:
        """A page of a user's log."""
        return read_list(Answer, self.send(calls.answers(user, after, limit)))

    def withdraw(self, user: str, answer: int) -> Withdrawn:
        """Take an answer back, by its number."""
        path = calls.of_user(user, f"/answers/{answer}")
        return read(Withdrawn, self.send(Call("DELETE", path)))

    def export(self, user: str) -> dict[str, Any]:
        """All that is kept of a user."""
        return self.send(Call("GET", calls.of_user(user, "/export")))

    def erase(self, user: str) -> Erased:
        """Erase a user and all that is kept of them."""
        return read(Erased, self.send(Call("DELETE", calls.of_user(user))))

    def send(self, call: Call) -> dict[str, Any]:
        """What the service answers to a request, sent again where it fails in passing."""
        tried = 0
        while True:
            tried += 1
            try:
                return content_of(self._client.request(**parts(call)))
            except httpx2.HTTPError as error:
                failed = unreachable(error)
            except ServiceError as error:
                failed = error
            pause = wait(failed, tried)
            if pause is None:
                raise failed
            clock.sleep(pause)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
