"""`/v1/users`: what is known of a user, all that is kept, and how it goes away."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import JSONResponse

from palate.service.http.auth import Reader, Writer
from palate.service.http.schema import plain
from palate.service.http.service import Service, service_of
from palate.service.http.strict import StrictRoute
from palate.service.http.who import checked_user
from palate.service.store import Entry

router = APIRouter(route_class=StrictRoute, tags=["users"])
User = Annotated[str, Path(description="The user's id.", examples=["alice"])]
Number = Annotated[int, Path(ge=1, lt=2**63, description="The answer's number.")]
Limit = Annotated[int, Query(ge=1, le=1000)]


@router.get("/v1/users", summary="List users")
async def list_users(
    request: Request,
    key: Reader,
    after: Annotated[str, Query(max_length=256)] = "",
    limit: Limit = 100,
) -> Response:
    """Users' ids in order, those behind `after`."""
    service = service_of(request)
    names = await service.in_thread(service.store.users.names, key.tenant, after, limit)
    return JSONResponse({"object": "list", "data": names, "has_more": len(names) == limit})


@router.get("/v1/users/{user}", summary="What is known of a user")
async def show(request: Request, user: User, key: Reader) -> Response:
    """The user's posterior under the model that serves."""
    service = service_of(request)
    content = await service.in_thread(_show, service, key.tenant, checked_user(user))
    return JSONResponse(content)


def _show(service: Service, tenant: int, user: str) -> dict[str, Any]:
    service.store.users.entries(tenant, user, 0, 1)  # raises where the tenant has no such user
    profile = service.serving.profile(tenant, user)
    return {"object": "user", "user": user, "model": profile.model, **profile.summary()}


@router.get("/v1/users/{user}/answers", summary="A user's log")
async def answers(
    request: Request,
    user: User,
    key: Reader,
    after: Annotated[int, Query(ge=0, lt=2**63 - 1)] = 0,
    limit: Limit = 100,
) -> Response:
    """Answers, withdrawals and expiries, by number, those behind `after`."""
    service, name = service_of(request), checked_user(user)
    given = (key.tenant, name, after, limit)
    found = await service.in_thread(service.store.users.entries, *given)
    data = [_entry(entry) for entry in found]
    return JSONResponse({"object": "list", "data": data, "has_more": len(data) == limit})


@router.get("/v1/users/{user}/answers/{number}", summary="One answer")
async def answer(request: Request, user: User, number: Number, key: Reader) -> Response:
    """One entry of a user's log."""
    service, name = service_of(request), checked_user(user)
    entry = await service.in_thread(service.store.users.entry, key.tenant, name, number)
    return JSONResponse(_entry(entry))


@router.delete("/v1/users/{user}/answers/{number}", summary="Withdraw an answer")
async def withdraw(request: Request, user: User, number: Number, key: Writer) -> Response:
    """Take an answer back: the posterior is as if it had never been given."""
    service, name = service_of(request), checked_user(user)
    given = (key.tenant, name, number)
    receipt = await service.in_thread(service.serving.tastes.withdraw, *given)
    left = int(receipt.profile.posterior.answers[0])
    content = {"object": "withdrawal", "user": name, "answer": number}
    return JSONResponse({**content, "repeated": receipt.repeated, "answers_left": left})


@router.get("/v1/users/{user}/export", summary="All that is kept of a user")
async def export(request: Request, user: User, key: Reader) -> Response:
    """Answers and served completions as one JSON object; posteriors follow from them."""
    service, name = service_of(request), checked_user(user)
    return JSONResponse(await service.in_thread(_export, service, key.tenant, name))


def _export(service: Service, tenant: int, user: str) -> dict[str, Any]:
    service.recorder.flush()
    return service.store.users.export(tenant, user)


@router.delete("/v1/users/{user}", summary="Erase a user")
async def erase(request: Request, user: User, key: Writer) -> Response:
    """Answers, posteriors, served completions, and the cached features of their texts.

    `traces` tells whether the database's files may still hold bytes of them for a while.
    """
    service, name = service_of(request), checked_user(user)
    return JSONResponse(await service.in_thread(_erase, service, key.tenant, name))


def _erase(service: Service, tenant: int, user: str) -> dict[str, Any]:
    service.recorder.flush()
    serving = service.serving
    erased = serving.tastes.erase(tenant, user)
    serving.forget(tenant, user)
    serving.source.forget_everywhere(erased.texts)
    content = {"object": "erased", "user": user, "answers": erased.entries}
    return {**content, "completions": erased.completions, "traces": erased.traces}


def _entry(entry: Entry) -> dict[str, Any]:
    content: dict[str, Any] = {"object": "entry", "number": entry.number, "kind": entry.kind}
    content["received"] = entry.received
    if entry.target is not None:
        content["target"] = entry.target
    if entry.answer is not None:
        given = asdict(entry.answer)
        del given["comparison"]
        texts = entry.answer.comparison
        content |= {name: plain(text) for name, text in vars(texts).items()} | given
    return content
