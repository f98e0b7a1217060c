"""Texts that a policy is asked to write, many at once, each kept as soon as it is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from palate.alignment.endpoint_pool import each
from palate.alignment.endpoint_retry import RefusedError
from palate.alignment.policy import Policy, Request
from palate.alignment.request_cache import RequestCache, content_key
from palate.alignment.spending import ROOM, Billed, Tokens
from palate.errors import PolicyError
from palate.progress import Progress, Silent

#: Bytes of a token on average, at most: what a filler is made of.
BYTES_OF_TOKEN = 8


class Writer:
    """A policy whose every text is written once: a stopped run goes on where it was."""

    def __init__(self, policy: Policy, kept: RequestCache, concurrency: int = 8) -> None:
        self.policy = policy
        self.kept = kept
        self.concurrency = concurrency

    def write(
        self, requests: Sequence[Request], step: str, progress: Progress | None = None
    ) -> list[str | None]:
        """One text for every request, None where the policy gave none.

        Raises `RefusedError` where it refuses everything; what was written before is kept.
        """
        texts: list[str | None] = [None] * len(requests)
        self._announce(requests)
        with (progress or Silent()).track(step, len(requests)) as advance:
            for place, text in each(self._write, requests, self.concurrency):
                texts[place] = text
                advance(1)
        return texts

    def known(self, requests: Sequence[Request]) -> list[str | None]:
        """The texts that are there already."""
        keys = [self._key(request) for request in requests]
        found = self.kept.read_many(keys)
        return [self._text(found[key]) if key in found else None for key in keys]

    def _announce(self, requests: Sequence[Request]) -> None:
        """Let these cost no more than sending each of them so often that some may fail."""
        if isinstance(self.policy, Billed):
            new = [
                one for one, text in zip(requests, self.known(requests), strict=True) if not text
            ]
            self.policy.spending.announce(self.policy.bound(new).times(ROOM))

    def _write(self, request: Request) -> str | None:
        key = self._key(request)
        with self.kept.claim(key):
            found = self.kept.read(key)
            if found is None:
                try:
                    (text,) = self.policy.sample(request).texts
                except RefusedError:
                    raise
                except PolicyError:
                    return None
                if not text.strip():
                    return None
                found = self.kept.write(key, {"text": text.strip()})
        return self._text(found)

    def _text(self, kept: Mapping[str, object]) -> str:
        if not isinstance(kept.get("text"), str):
            raise self.kept.damaged()
        return str(kept["text"])

    def _key(self, request: Request) -> bytes:
        return content_key({"policy": self.policy.name, "request": asdict(request)})


class Estimate(Writer):
    """Writes nothing: what is not there yet is a filler as long as it may get, and is counted."""

    def __init__(self, writer: Writer) -> None:
        super().__init__(writer.policy, writer.kept, writer.concurrency)
        self.missing: list[Request] = []

    def write(
        self, requests: Sequence[Request], step: str, progress: Progress | None = None
    ) -> list[str | None]:
        """The texts that are there, and fillers."""
        del step, progress
        known = self.known(requests)
        return [
            self._filler(request) if text is None else text
            for request, text in zip(requests, known, strict=True)
        ]

    def _filler(self, request: Request) -> str:
        """Different each time, as responses of a pair are."""
        self.missing.append(request)
        return f"{len(self.missing)} ".ljust(BYTES_OF_TOKEN * request.max_tokens, "x")

    def cost(self) -> Tokens:
        """Tokens that what is missing costs at most, each sent once."""
        return self.policy.bound(self.missing) if isinstance(self.policy, Billed) else Tokens()
