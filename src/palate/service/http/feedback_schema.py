"""What can be said of responses: one preferred, a thumb, an order."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from palate.service.http.schema import Name, OfUser, TextIn

Place = Annotated[int, Field(ge=0, lt=2**31)]


class Said(OfUser):
    """What every kind of feedback may say."""

    model_config = ConfigDict(extra="forbid")

    completion_id: Name | None = Field(None, description="Of which served completion.")
    weight: Annotated[float, Field(gt=0, le=1)] = Field(1.0, description="What it counts.")
    time: Annotated[float, Field(ge=-1e12, le=1e12)] | None = Field(
        None, description="When it was given, UTC seconds since 1970; now where it is not said."
    )
    idempotency_key: Name | None = Field(
        None, description="Sent again under the same key, it counts once."
    )


class ComparisonIn(Said):
    """One response was preferred: both as texts, or as places among a completion's candidates."""

    type: Literal["comparison"]
    prompt: TextIn | None = None
    chosen: Place | TextIn
    rejected: Place | TextIn
    tie: bool = Field(False, description="Neither was preferred; the sides then mean nothing.")


class ThumbIn(Said):
    """A thumb on a served answer: it is preferred to each other candidate, or each to it."""

    type: Literal["thumb"]
    completion_id: Name = Field(description="Of which served completion.")
    value: Literal["up", "down"]
    choice: Place = Field(0, description="Which candidate, where several were returned.")


class RankingIn(Said):
    """An order, the best first: texts, or places among a completion's candidates."""

    type: Literal["ranking"]
    prompt: TextIn | None = None
    order: Annotated[list[Place | TextIn], Field(min_length=2, max_length=64)]


Feedback = Annotated[ComparisonIn | ThumbIn | RankingIn, Field(discriminator="type")]

_TEXTS: dict[str, Any] = {"prompt": "Why is the sky blue?", "user": "alice"}
EXAMPLES: dict[str, Any] = {
    "comparison": {
        "summary": "One text was preferred",
        "value": {
            **_TEXTS,
            "type": "comparison",
            "chosen": "Short waves scatter more.",
            "rejected": "Great question!",
            "idempotency_key": "a7c1",
        },
    },
    "thumb": {
        "summary": "A thumb on a served answer",
        "value": {"type": "thumb", "completion_id": "chatcmpl-1f0c", "value": "up"},
    },
    "ranking": {
        "summary": "An order",
        "value": {**_TEXTS, "type": "ranking", "order": ["Best.", "Good.", "Bad."]},
    },
}
