"""What every policy is: a language model that is asked for n answers to a prompt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from palate.types import Text


@dataclass(frozen=True)
class Request:
    """What a policy is asked for.

    count: answers, sampled independently. system: a system prompt before the prompt, or None.
    temperature: of the sampling; 0 takes the likeliest token each time. max_tokens: of one answer.
    seed: what the sampling is drawn from; equal requests give equal answers where the policy can.
    """

    prompt: Text
    count: int = 1
    system: str | None = None
    temperature: float = 1.0
    max_tokens: int = 512
    seed: int = 0

    def __post_init__(self) -> None:
        if self.count < 1 or self.max_tokens < 1:
            raise ValueError(
                f"count {self.count} and max_tokens {self.max_tokens} must be 1 or more"
            )
        if not 0 <= self.temperature <= 2:
            raise ValueError(f"temperature is {self.temperature}; expected 0 to 2")


@dataclass(frozen=True)
class Sampled:
    """Answers in the order of their sampling, and the tokens that were read and written."""

    texts: tuple[str, ...]
    prompt_tokens: int
    completion_tokens: int


class Policy(Protocol):
    """A language model behind any interface. Raises `PolicyError` where it cannot answer."""

    name: str

    def sample(self, request: Request) -> Sampled:
        """Answers to one prompt."""
        ...
