"""`/v1/users/{user}/question`: the pair whose answer would teach most."""

from __future__ import annotations

from itertools import combinations
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from palate.service.http import documented
from palate.service.http.auth import Reader
from palate.service.http.errors import invalid
from palate.service.http.schema import TextIn, plain, text_of
from palate.service.http.service import Service, service_of
from palate.service.http.strict import StrictRoute
from palate.service.http.users import User
from palate.service.http.who import checked_user
from palate.service.store import NotFound
from palate.types import Comparison, Text, as_text

router = APIRouter(route_class=StrictRoute, tags=["users"])
#: The last completions that pairs are taken from.
COMPLETIONS = 20


class Pair(BaseModel):
    """Two responses to a prompt."""

    prompt: TextIn
    response_a: TextIn
    response_b: TextIn


EXAMPLE: dict[str, Any] = {
    "pool": [
        {"prompt": "Why is the sky blue?", "response_a": "Waves.", "response_b": "Who knows?"},
        {"prompt": "What is tea?", "response_a": "A drink.", "response_b": "A leaf, steeped."},
    ]
}


class QuestionRequest(BaseModel):
    """Where questions are taken from, and how."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [EXAMPLE]})

    pool: list[Pair] | None = Field(
        None, description="Pairs to choose from; without it, what the user was served last."
    )
    rule: Literal["information", "slope", "ellipsoid", "eubo", "random"] = "information"
    count: Annotated[int, Field(ge=1, le=100)] = 1
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0


@router.post(
    "/v1/users/{user}/question", summary="What to ask a user next", responses=documented.QUESTION
)
async def question(request: Request, user: User, asked: QuestionRequest, key: Reader) -> Response:
    """The pairs whose answers would teach most, and whether asking still pays (`settled`)."""
    service, name = service_of(request), checked_user(user)
    most = service.settings.most_texts
    if asked.pool is not None and not 1 <= len(asked.pool) <= most:
        raise invalid(f"the pool has {len(asked.pool)} pairs; expected 1 to {most}", "pool")
    return JSONResponse(await service.in_thread(_ask, service, key.tenant, name, asked))


def _ask(service: Service, tenant: int, user: str, asked: QuestionRequest) -> dict[str, Any]:
    serving = service.serving
    pool = _served(service, tenant, user) if asked.pool is None else _given(asked.pool)
    profile = serving.profile(tenant, user)
    found = serving.model.questions(
        pool, profile, rule=asked.rule, count=asked.count, seed=asked.seed
    )
    questions = []
    for choice in found.choices:
        pair = pool[choice.index]
        row = {"index": choice.index, "prompt": plain(pair.prompt)}
        row |= {"response_a": plain(pair.chosen), "response_b": plain(pair.rejected)}
        questions.append({**row, "score": choice.score, "p_a": choice.probability})
    content = {"object": "questions", "user": user, "model": serving.model.identity}
    return {**content, "data": questions, "change": found.change, "settled": found.settled}


def _given(pool: list[Pair]) -> list[Comparison]:
    pairs = []
    for place, pair in enumerate(pool):
        texts = (text_of(pair.response_a), text_of(pair.response_b))
        try:
            pairs.append(Comparison(text_of(pair.prompt), *texts))
        except ValueError:
            raise invalid("a pair is the same text twice", f"pool.{place}") from None
    return pairs


def _served(service: Service, tenant: int, user: str) -> list[Comparison]:
    """Pairs of candidates of the last completions; raises `NotFound` for an unknown user."""
    service.recorder.flush()
    served = service.store.users.export(tenant, user)["completions"][-COMPLETIONS:]
    pairs = []
    for one in served:
        texts: list[Text] = [_text(text) for text in one["candidates"]]
        for a, b in combinations(dict.fromkeys(texts), 2):
            pairs.append(Comparison(_text(one["prompt"]), a, b))
    if not pairs:
        raise NotFound("the user was served nothing with two candidates; give a `pool`")
    return pairs[: service.settings.most_texts]


def _text(content: Any) -> Text:  # noqa: ANN401 - an export's
    return as_text(content)
