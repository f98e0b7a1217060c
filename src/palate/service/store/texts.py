"""Texts as a column holds them: JSON, so that PostgreSQL too takes every character."""

from __future__ import annotations

import json
from typing import Any

from palate.service.store.errors import InvalidEntry
from palate.types import Text, as_text, canonical

#: Longest name of a user, a key, a completion, in characters.
LONGEST_NAME = 256


def column_of(text: Text) -> str:
    """One text, or the turns of a conversation; a NUL is escaped."""
    return as_json(_plain(text))


def text_of(column: str) -> Text:
    """The text that `column_of` wrote."""
    return as_text(json.loads(column))


def columns_of(texts: tuple[Text, ...]) -> str:
    """Several texts in one column."""
    return as_json([_plain(text) for text in texts])


def texts_of(column: str) -> tuple[Text, ...]:
    """The texts that `columns_of` wrote."""
    return tuple(as_text(content) for content in json.loads(column))


def check_text(what: str, text: Text) -> None:
    """Raise `InvalidEntry` for half a surrogate pair, which no file can hold."""
    _encodable(what, canonical(text))


def as_json(content: Any) -> str:  # noqa: ANN401
    """JSON with letters as they are."""
    return json.dumps(content, ensure_ascii=False)


def checked_name(what: str, name: str) -> str:
    """A name that both databases take; raises `InvalidEntry` where it is none."""
    if not 1 <= len(name) <= LONGEST_NAME:
        raise InvalidEntry(f"{what} has {len(name)} characters; expected 1 to {LONGEST_NAME}")
    if "\x00" in name:
        raise InvalidEntry(f"{what} holds a NUL character; expected a text without")
    return _encodable(what, name)


def _plain(text: Text) -> str | list[dict[str, str]]:
    return text if isinstance(text, str) else [vars(message).copy() for message in text]


def _encodable(what: str, text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidEntry(f"{what} holds half a surrogate pair; expected Unicode") from None
    return text
