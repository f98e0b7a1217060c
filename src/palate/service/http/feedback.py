"""`/v1/feedback`: what users say, into their logs."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Header, Request, Response
from fastapi.responses import JSONResponse

from palate.service.http import documented
from palate.service.http.auth import Writer
from palate.service.http.errors import ApiError, invalid
from palate.service.http.feedback_schema import EXAMPLES, Feedback
from palate.service.http.saying import answers_of
from palate.service.http.service import Service, service_of
from palate.service.http.strict import StrictRoute
from palate.service.http.who import user_of
from palate.service.store import Completion, NotFound
from palate.service.tastes import Receipt

router = APIRouter(route_class=StrictRoute, tags=["feedback"])


@router.post(
    "/v1/feedback",
    summary="Tell what a user prefers",
    status_code=201,
    responses=documented.FEEDBACK,
)
async def feedback(
    request: Request,
    said: Annotated[Feedback, Body(openapi_examples=EXAMPLES)],
    key: Writer,
    idempotency_key: Annotated[str | None, Header(max_length=256)] = None,
) -> Response:
    """Keep a comparison, a thumb or an order, and bring the user's posterior up to date.

    With this answer it is on the disk. Repeated under its idempotency key (or the header
    Idempotency-Key) it is kept once, and the answer is 200.
    """
    service, user = service_of(request), user_of(request, said)
    once = said.idempotency_key or idempotency_key
    given = (service, key.tenant, user, said, once)
    owner, receipt = await service.in_thread(_keep, *given)
    for _ in receipt.numbers if not receipt.repeated else ():
        service.metrics.answers.labels(said.type).inc()
    return JSONResponse(_content(owner, receipt), 200 if receipt.repeated else 201)


def _keep(
    service: Service, tenant: int, user: str | None, said: Feedback, once: str | None
) -> tuple[str, Receipt]:
    served = None
    if said.completion_id is not None:
        owner, served = _found(service, tenant, said.completion_id)
        if user is not None and user != owner:
            message = "the completion was served to another user"
            raise ApiError(409, "other_user", message, param="completion_id")
        user = owner
    if user is None:
        raise invalid("no user is named; give `user`, or the header X-Palate-User", "user")
    return user, service.serving.tastes.add(tenant, user, answers_of(said, served), once)


def _found(service: Service, tenant: int, id: str) -> tuple[str, Completion]:
    """A completion, also one whose record is still on its way to the disk."""
    try:
        return service.store.completions.find(tenant, id)
    except NotFound:
        service.recorder.flush()
        return service.store.completions.find(tenant, id)


def _content(user: str, receipt: Receipt) -> dict[str, Any]:
    profile = receipt.profile
    return {
        "object": "feedback",
        "user": user,
        "answers": list(receipt.numbers),
        "repeated": receipt.repeated,
        "posterior": {
            "answers": int(profile.posterior.answers[0]),
            "uncertainty": profile.uncertainty,
            "model": profile.model,
        },
    }
