"""What an endpoint answered: its texts and its usage, or why it is no answer."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from palate.alignment.spending import Tokens

#: How an answer may end: by itself, or at the limit of tokens that was asked for.
ENDINGS = ("stop", "length", "eos", None)
#: Characters of a broken answer that an error shows.
SHOWN = 80


@dataclass(frozen=True)
class Reply:
    """Texts in the endpoint's order, and the tokens that it bills; None where it does not say."""

    texts: tuple[str, ...]
    usage: Tokens | None


class BrokenReplyError(Exception):
    """A reply that is no answer; `usage` is what the endpoint bills for it all the same."""

    def __init__(self, message: str, usage: Tokens | None = None) -> None:
        super().__init__(message)
        self.usage = usage


def read_reply(body: bytes, most: int) -> Reply:
    """The answers of a chat completion, at most so many. Raises `BrokenReplyError`."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        shown = body[:SHOWN].decode("utf-8", errors="replace")
        raise BrokenReplyError(f"the answer is not whole JSON: {shown!r}") from error
    if not isinstance(content, dict):
        raise BrokenReplyError(f"the answer is a JSON {type(content).__name__}, not an object")
    usage = _usage(content.get("usage"))
    try:
        choices = content["choices"]
        if not isinstance(choices, list) or not choices:
            raise ValueError("it holds no choice")
        return Reply(tuple(_text(choice) for choice in choices[:most]), usage)
    except (KeyError, TypeError, ValueError) as error:
        fault = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise BrokenReplyError(f"the answer is no chat completion: {fault}", usage) from error


def _text(choice: Any) -> str:  # noqa: ANN401 - whatever the endpoint sent
    content = choice["message"]["content"]
    ending = choice.get("finish_reason")
    if ending not in ENDINGS:
        raise ValueError(f"a choice ended by {ending!r}")
    if not isinstance(content, str) or not content.strip():
        raise ValueError(f"a choice's content is {content!r} (ended by {ending!r}), not a text")
    try:
        content.encode()
    except UnicodeEncodeError as error:
        raise ValueError("a choice's content has half a character") from error
    return content


def _usage(value: object) -> Tokens | None:
    """Tokens by the endpoint's own word; None where it has none, or a senseless one."""
    if not isinstance(value, dict):
        return None
    read, written = value.get("prompt_tokens"), value.get("completion_tokens")
    if type(read) is not int or type(written) is not int:  # true is no count
        return None
    return Tokens(read, written) if min(read, written) >= 0 else None
