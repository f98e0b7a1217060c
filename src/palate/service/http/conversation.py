"""A chat completion's messages as palate's texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from palate.types import Message, Text


def content_text(turn: Mapping[str, Any]) -> str | None:
    """What a turn says; None where it is not a text alone, as an image is not."""
    content = turn.get("content")
    if content is None:
        return ""  # an assistant's turn that only calls tools
    if isinstance(content, str):
        return content
    parts = [part.get("text") for part in content if part.get("type") == "text"]
    whole = len(parts) == len(content) and all(isinstance(part, str) for part in parts)
    return "".join(map(str, parts)) if whole else None


def prompt_of(messages: Sequence[Mapping[str, Any]]) -> Text | None:
    """The prompt that is answered: one turn of the user's is its text; None where it is no text."""
    texts = [content_text(turn) for turn in messages]
    if any(text is None for text in texts):
        return None
    turns = [Message(turn["role"], text or "") for turn, text in zip(messages, texts, strict=True)]
    return turns[0].content if len(turns) == 1 and turns[0].role == "user" else tuple(turns)
