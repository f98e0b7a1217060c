"""A chat completion: candidates from upstream, a choice among them, and a record of it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from palate.errors import PalateError
from palate.service.http.chat_schema import ChatRequest
from palate.service.http.choosing import Chosen, choose
from palate.service.http.conversation import prompt_of
from palate.service.http.errors import ApiError, invalid
from palate.service.http.service import Service, until
from palate.service.http.upstream import Answered, Candidate
from palate.service.store import ApiKey, Completion
from palate.types import Text

#: Shares of the time that the upstream and the choice may take, so that an answer is in time.
OF_UPSTREAM, OF_CHOICE = 0.9, 0.8


@dataclass(frozen=True)
class Completed:
    """What is answered. seconds: by what took them: total, upstream, encoding, own."""

    id: str
    created: int
    model: str
    choices: tuple[Candidate, ...]
    usage: Mapping[str, int]
    personalization: dict[str, Any]
    seconds: dict[str, float]

    @property
    def timing(self) -> str:
        """The header `Server-Timing`, in milliseconds."""
        return ", ".join(f"{name};dur={1e3 * value:.2f}" for name, value in self.seconds.items())


async def complete(
    service: Service, key: ApiKey, user: str | None, asked: ChatRequest, deadline: float
) -> Completed:
    """The completion that a user gets; raises `ApiError` where no candidate came."""
    started, left = time.perf_counter(), until(deadline)
    n, count = _counts(service, user, asked)
    pseudonym = None if user is None else service.pseudonyms.of(key.tenant, user)
    body = asked.upstream_body(pseudonym)
    answered = await service.upstream.ask(body, count, OF_UPSTREAM * left())
    upstream = time.perf_counter() - started
    prompt = prompt_of(asked.turns)
    chosen = await _chosen(service, key, user, prompt, answered, left())
    id = f"chatcmpl-{secrets.token_hex(16)}"
    kept = _kept(service, key, user, prompt, chosen, id)
    total = time.perf_counter() - started
    seconds = {"total": total, "upstream": upstream, "encoding": chosen.encoding}
    seconds["own"] = max(0.0, total - upstream - chosen.encoding)
    _count(service, chosen, seconds)
    return Completed(
        *(id, int(service.store.clock()), answered.model, chosen.candidates[:n], answered.usage),
        chosen.as_json(kept),
        seconds,
    )


def _counts(service: Service, user: str | None, asked: ChatRequest) -> tuple[int, int]:
    """Choices to return, and candidates to ask for; a request without a user asks for no more."""
    most, n = service.settings.most_candidates, asked.n or 1
    count = asked.best_of or max(n, service.settings.candidates if user is not None else 1)
    for name, value in (("n", n), ("best_of", count), ("candidates", len(asked.candidates or ()))):
        if value > most:
            raise invalid(f"{name} is {value}; at most {most}", name)
    if count < n:
        raise invalid(f"best_of is {count}, below n, {n}", "best_of")
    if asked.candidates is not None and service.upstream.name != "echo":
        raise invalid("`candidates` are for the upstream echo; this one writes its own: see "
                      "/v1/rerank", "candidates")  # fmt: skip
    return n, count


async def _chosen(
    service: Service,
    key: ApiKey,
    user: str | None,
    prompt: Text | None,
    answered: Answered,
    left: float,
) -> Chosen:
    came = answered.candidates
    if user is None:
        return Chosen(came, reason="no_user")
    if prompt is None or any(candidate.text is None for candidate in came):
        return Chosen(came, reason="not_text")
    most = min(service.settings.scoring, OF_CHOICE * left)
    given = (service.serving, key.tenant, user, prompt, came)
    try:
        return await service.in_thread(choose, *given, seconds=most)
    except ApiError:
        return Chosen(came, reason="scoring_late")


def _kept(
    service: Service, key: ApiKey, user: str | None, prompt: Text | None, chosen: Chosen, id: str
) -> bool:
    """Whether feedback may name the completion; an answer does not wait or fail for its record."""
    texts = tuple(candidate.text for candidate in chosen.candidates)
    if user is None or prompt is None or None in texts:
        return False
    try:
        served = Completion(id, prompt, texts, 0, chosen.model)  # type: ignore[arg-type]
    except PalateError:  # an upstream's text that cannot be stored
        return False
    return service.recorder.keep(key.tenant, user, served)


def _count(service: Service, chosen: Chosen, seconds: Mapping[str, float]) -> None:
    metrics = service.metrics
    outcome = (chosen.reason or "personalized").partition(":")[0]
    metrics.completions.labels(outcome).inc()
    for part, value in seconds.items():
        metrics.parts.labels(part).observe(value)
