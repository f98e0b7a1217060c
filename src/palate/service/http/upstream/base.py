"""What every upstream is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True)
class Candidate:
    """One choice of a chat completion: the message as it came, why it ended, its logprobs."""

    message: Mapping[str, Any]
    finish_reason: str = "stop"
    logprobs: Mapping[str, Any] | None = None

    @property
    def text(self) -> str | None:
        """What can be scored; None for a message that is not a text alone, as a call of a tool."""
        content = self.message.get("content")
        other = any(self.message.get(name) for name in ("tool_calls", "function_call", "audio"))
        return content if isinstance(content, str) and content and not other else None


@dataclass(frozen=True)
class Answered:
    """Candidates in the order of their coming; model and usage as the upstream tells them."""

    candidates: tuple[Candidate, ...]
    model: str
    usage: Mapping[str, int] = field(default_factory=dict)


class Upstream(Protocol):
    """A language model. Raises `ApiError` where no answer came, within the seconds given."""

    name: str

    async def ask(self, body: Mapping[str, Any], count: int, seconds: float) -> Answered:
        """Up to `count` candidates for a chat completion's body, one at least."""
        ...

    async def close(self) -> None:
        """Close its connections."""
        ...
