"""A language model behind any OpenAI-compatible endpoint, as a policy.

Nothing but the texts of a request goes upstream: no user's id, in any field.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from palate.alignment.endpoint_reply import BrokenReplyError, Reply, read_reply
from palate.alignment.endpoint_retry import (
    LASTING,
    PASSING,
    PassingError,
    RefusedError,
    retried,
    retry_after,
)
from palate.alignment.endpoint_settings import EndpointSettings, client
from palate.alignment.policy import Request, Sampled
from palate.alignment.request_cache import RequestCache, content_key
from palate.alignment.spending import Attempt, Spending, Tokens
from palate.errors import PolicyError
from palate.types import Message

if TYPE_CHECKING:
    from openai import APIStatusError

#: Bytes of an answer that are read at most.
LONGEST_REPLY = 64 * 2**20
#: Tokens that a chat template may add to a request and to each of its turns.
OVERHEAD, OVERHEAD_OF_TURN = 64, 16


class Endpoint:
    """A policy that asks an endpoint, within its `spending`, and keeps whole answers in a cache.

    Safe for threads. An equal request is answered from the cache, and sent once where several ask
    at the same time; broken answers are never kept. `close` ends its connections, as its own end
    does. Raises `PolicyError` where no answer comes, `RefusedError` where none ever will.
    """

    def __init__(
        self,
        settings: EndpointSettings,
        *,
        key: str | None = None,
        spending: Spending | None = None,
        cache: RequestCache | None = None,
    ) -> None:
        self.settings = settings
        self.spending = spending or Spending()
        self.cache = cache
        self.name = f"{settings.model} at {settings.url}"
        self._client = client(settings, key)
        self.close = weakref.finalize(self, self._client.close)
        self._slots = threading.BoundedSemaphore(settings.concurrency)

    def sample(self, request: Request) -> Sampled:
        """Answers to one prompt, from the cache where an equal request was answered before."""
        if self.cache is None:
            return self._ask(request)
        key = self._key(request)
        with self.cache.claim(key):
            kept = self.cache.read(key)
            if kept is None:
                kept = self.cache.write(key, vars(self._ask(request)))
        try:
            return Sampled(tuple(kept["texts"]), kept["prompt_tokens"], kept["completion_tokens"])
        except (KeyError, TypeError) as error:
            raise self.cache.damaged() from error

    def bound(self, requests: Sequence[Request]) -> Tokens:
        """Tokens that requests cost at most, each sent once; none for those in the cache.

        A token is at least one byte of text. Tries of one request beyond the first are not in it.
        """
        return sum((self._bound(request) for request in self._unknown(requests)), Tokens())

    def _unknown(self, requests: Sequence[Request]) -> list[Request]:
        """The different requests that are not in the cache."""
        by_key = {self._key(request): request for request in requests}
        known = {} if self.cache is None else self.cache.read_many(list(by_key))
        return [request for key, request in by_key.items() if key not in known]

    def _bound(self, request: Request) -> Tokens:
        """As an endpoint would bill that gives one answer at a time, whatever it is asked for."""
        one = _bound_of(self._body(request, request.count, 0), request.max_tokens, 1)
        return one.times(request.count)

    def _key(self, request: Request) -> bytes:
        body = self._body(request, request.count, 0)
        return content_key({"url": self.settings.url, "body": body})

    # -- sending ------------------------------------------------------------------------------

    def _ask(self, request: Request) -> Sampled:
        """As many answers as were asked for; some endpoints give one at a time."""
        texts: list[str] = []
        used = Tokens()
        at_once = request.count
        while (missing := request.count - len(texts)) > 0:
            count = min(at_once, missing)
            body = self._body(request, count, len(texts))
            reply = self._send(body, _bound_of(body, request.max_tokens, count), count)
            if len(reply.texts) < count:
                at_once = 1
            texts += reply.texts
            used += reply.usage or Tokens()
        return Sampled(tuple(texts), used.prompt, used.completion)

    def _body(self, request: Request, count: int, before: int) -> dict[str, Any]:
        turns = request.prompt
        messages = (Message("user", turns),) if isinstance(turns, str) else turns
        if request.system is not None:
            messages = (Message("system", request.system), *messages)
        body = {
            "model": self.settings.model,
            "messages": [{"role": turn.role, "content": turn.content} for turn in messages],
            "n": count,
            "temperature": request.temperature,
            "seed": request.seed + before,
            self.settings.limit_name: request.max_tokens,
            **self.settings.parameters,
        }
        return {name: value for name, value in body.items() if value is not None}

    def _send(self, body: dict[str, Any], bound: Tokens, count: int) -> Reply:
        def once(left: float) -> Reply:
            until = time.monotonic() + left
            acquired = self._slots.acquire(timeout=left)
            try:
                left = until - time.monotonic()
                if not acquired or left <= 0:
                    raise PolicyError(f"{self.name} was busy with other requests until too late")
                with self.spending.attempt(bound, left) as attempt:
                    return self._try(body, attempt, min(left, self.settings.patience), count)
            finally:
                if acquired:
                    self._slots.release()

        limits = self.settings
        return retried(once, tries=limits.tries, deadline=limits.deadline, name=self.name)

    def _try(self, body: dict[str, Any], attempt: Attempt, seconds: float, count: int) -> Reply:
        """One sending. Raises `PassingError`, or `PolicyError` where a second is of no use."""
        import httpx2
        from openai import APIConnectionError, APIStatusError

        from palate.alignment.endpoint_body import post

        try:
            reply = read_reply(post(self._client, body, seconds, LONGEST_REPLY), count)
        except BrokenReplyError as error:
            attempt.settle(error.usage)
            raise PassingError(str(error)) from error
        except APIStatusError as error:
            self._answer_to(error, attempt)
        except APIConnectionError as error:
            if isinstance(error.__cause__, httpx2.ConnectError | httpx2.ConnectTimeout):
                attempt.free()
            raise PassingError(f"{error} ({error.__cause__})") from error
        except (httpx2.HTTPError, TimeoutError) as error:
            raise PassingError(f"the answer was cut off: {error}") from error
        attempt.settle(reply.usage)
        return reply

    def _answer_to(self, error: APIStatusError, attempt: Attempt) -> NoReturn:
        """What follows from an HTTP status that is no success."""
        status = error.status_code
        words = f"status {status}: {error.message}"
        if status < 500:  # refused before a token was written; of others nobody knows
            attempt.free()
        if error.code == "insufficient_quota" or status in LASTING:
            raise RefusedError(f"{self.name} refuses all requests: {words}") from error
        if status in PASSING or status >= 500:
            raise PassingError(words, retry_after(error.response.headers)) from error
        raise PolicyError(f"{self.name} refuses this request: {words}") from error


def _bound_of(body: Mapping[str, Any], max_tokens: int, count: int) -> Tokens:
    """Tokens that a sending costs at most: as many as its texts have bytes, and what is written."""
    turns = body["messages"]
    try:
        size = sum(len(turn["content"].encode()) + OVERHEAD_OF_TURN for turn in turns)
    except UnicodeEncodeError as error:
        raise PolicyError("a prompt holds half a character (a lone surrogate): mend it") from error
    return Tokens(OVERHEAD + size, max_tokens * count)
