"""`/v1/rerank` and `/v1/score`: texts in a user's order, or with a user's rewards."""

from __future__ import annotations

import math
import secrets
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from palate.service.http import documented
from palate.service.http.auth import Reader
from palate.service.http.errors import invalid
from palate.service.http.schema import OfUser, TextIn, text_of
from palate.service.http.service import Service, service_of
from palate.service.http.strict import StrictRoute
from palate.service.http.who import the_user
from palate.types import Text

router = APIRouter(route_class=StrictRoute, tags=["scoring"])


class Document(BaseModel):
    """A document in an object."""

    text: str


RERANK: dict[str, Any] = {
    "query": "Why is the sky blue?",
    "documents": ["Short waves scatter more.", "Great question!"],
    "top_n": 1,
    "user": "alice",
}
SCORE: dict[str, Any] = {
    "prompt": "Why is the sky blue?",
    "responses": ["Short waves scatter more.", "Great question!"],
    "user": "alice",
}


class RerankRequest(OfUser):
    """Cohere's, Jina's and vLLM's shape."""

    model_config = ConfigDict(json_schema_extra={"examples": [RERANK]})

    model: str | None = None
    query: TextIn
    documents: Annotated[list[str | Document], Field(min_length=1)]
    top_n: Annotated[int, Field(ge=1, le=2**31)] | None = None
    return_documents: bool = True


class ScoreRequest(OfUser):
    """A prompt and responses to it."""

    model_config = ConfigDict(json_schema_extra={"examples": [SCORE]})

    model: str | None = None
    prompt: TextIn
    responses: Annotated[list[TextIn], Field(min_length=1)]


@router.post("/v1/rerank", summary="Order documents for a user", responses=documented.RERANK)
async def rerank(request: Request, asked: RerankRequest, key: Reader) -> Response:
    """Documents by the user's expected reward, best first.

    `relevance_score` is the reward through a sigmoid; reward, sd and p_best stand beside it.
    """
    service, user = service_of(request), the_user(request, asked)
    texts = [one if isinstance(one, str) else one.text for one in asked.documents]
    _check_size(service, len(texts), "documents")
    prompt = text_of(asked.query)
    return JSONResponse(await service.in_thread(_rerank, service, key.tenant, user, prompt, texts,
                                                asked))  # fmt: skip


def _rerank(
    service: Service, tenant: int, user: str, prompt: Text, texts: list[str], asked: RerankRequest
) -> dict[str, Any]:
    serving = service.serving
    ranking = serving.rank(prompt, texts, serving.profile(tenant, user))
    results = []
    for one in ranking.candidates[: asked.top_n]:
        row: dict[str, Any] = {"index": one.index, "relevance_score": _sigmoid(one.reward)}
        if asked.return_documents:
            row["document"] = {"text": texts[one.index]}
        results.append({**row, "reward": one.reward, "sd": one.sd, "p_best": one.p_best})
    id = f"rerank-{secrets.token_hex(16)}"
    return {"id": id, "model": serving.model.identity, "results": results}


@router.post("/v1/score", summary="Rewards of responses for a user", responses=documented.SCORE)
async def score(request: Request, asked: ScoreRequest, key: Reader) -> Response:
    """The user's expected reward of each response, in their order, and its standard deviation."""
    service, user = service_of(request), the_user(request, asked)
    _check_size(service, len(asked.responses), "responses")
    prompt, texts = text_of(asked.prompt), [text_of(one) for one in asked.responses]
    return JSONResponse(await service.in_thread(_score, service, key.tenant, user, prompt, texts))


def _score(
    service: Service, tenant: int, user: str, prompt: Text, texts: list[Text]
) -> dict[str, Any]:
    serving = service.serving
    profile = serving.profile(tenant, user)
    rewards = serving.reward(prompt, texts, profile)
    mean = rewards.mean.tolist()
    sd = [None] * len(mean) if rewards.sd is None else rewards.sd.tolist()
    data = [
        {"index": place, "object": "score", "score": mean[place], "sd": sd[place]}
        for place in range(len(mean))
    ]
    answers = int(profile.posterior.answers[0])
    return {
        "object": "list",
        "model": serving.model.identity,
        "answers": answers,
        "data": data,
    }


def _check_size(service: Service, count: int, name: str) -> None:
    if count > service.settings.most_texts:
        raise invalid(f"{count} {name}; at most {service.settings.most_texts} at once", name)


def _sigmoid(reward: float) -> float:
    return 1 / (1 + math.exp(-max(-500.0, min(500.0, reward))))
