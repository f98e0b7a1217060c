"""What requests have in common: texts, and who the user is."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from palate.types import Message, Text

Name = Annotated[str, StringConstraints(min_length=1, max_length=256)]


class Turn(BaseModel):
    """One turn of a conversation."""

    model_config = ConfigDict(extra="forbid")

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str


#: A plain text, or the turns of a conversation.
TextIn = str | Annotated[list[Turn], Field(min_length=1)]


def text_of(given: str | list[Turn]) -> Text:
    """A text as palate knows it."""
    if isinstance(given, str):
        return given
    return tuple(Message(turn.role, turn.content) for turn in given)


def plain(text: Text) -> str | list[dict[str, str]]:
    """A text for JSON."""
    return text if isinstance(text, str) else [vars(turn).copy() for turn in text]


class OfUser(BaseModel):
    """The fields that may name a user; the header X-Palate-User comes before them.

    The order is header, metadata.user_id, user, safety_identifier.
    """

    user: str | None = Field(None, description="The user's id.")
    safety_identifier: str | None = Field(None, description="Names the user where `user` does not.")
    metadata: dict[str, Any] | None = Field(None, description="`user_id` in it names the user.")
