"""A chat completion's request: OpenAI's, and what palate adds."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from palate.service.http.schema import OfUser

EXAMPLE: dict[str, Any] = {
    "model": "any",
    "messages": [{"role": "user", "content": "Why is the sky blue?"}],
    "user": "alice",
    "best_of": 2,
    "candidates": ["Short waves scatter more.", "Great question! There are many reasons..."],
}
#: What is ours, or names the user, and never goes upstream as it came.
OWN = {"n", "best_of", "stream", "stream_options", "candidates"}
OWN |= {"user", "safety_identifier", "metadata", "messages"}


class ChatTurn(BaseModel):
    """One turn; fields that are not named here go upstream as they are."""

    model_config = ConfigDict(extra="allow")

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[dict[str, Any]] | None = None


class StreamOptions(BaseModel):
    """Of a stream."""

    include_usage: bool | None = None


class ChatRequest(OfUser):
    """OpenAI's request; fields that are not named here go upstream as they are."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"examples": [EXAMPLE]})

    model: Annotated[str, Field(min_length=1, max_length=256)]
    messages: Annotated[list[ChatTurn], Field(min_length=1)]
    n: Annotated[int, Field(ge=1, le=128)] | None = Field(None, description="Choices to return.")
    best_of: Annotated[int, Field(ge=1, le=128)] | None = Field(
        None, description="Candidates to ask for and choose from."
    )
    stream: bool | None = Field(
        None, description="The chosen text is streamed once it is chosen, not before."
    )
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=2**31)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1, le=2**31)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    candidates: Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1)] | None = (
        Field(None, description="Of the upstream `echo`: the texts to choose from.")
    )

    @property
    def turns(self) -> list[dict[str, Any]]:
        """The messages as they came."""
        return [turn.model_dump(exclude_unset=True) for turn in self.messages]

    def upstream_body(self, pseudonym: str | None) -> dict[str, Any]:
        """What goes upstream: no name of a user, in any field, but the pseudonym."""
        body = self.model_dump(exclude_unset=True, exclude=OWN)
        body["messages"] = self.turns
        if self.candidates is not None:
            body["candidates"] = self.candidates
        other = {key: value for key, value in (self.metadata or {}).items() if key != "user_id"}
        if other:
            body["metadata"] = other
        if pseudonym is not None:
            body["user"] = pseudonym
        return body
