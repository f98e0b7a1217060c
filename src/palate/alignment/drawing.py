"""Sampling from a request's own seed: inverse transform of uniform numbers that were drawn before.

A row of a batch has a number for each token, so that what it becomes depends on no other row and on
no global stream of random numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from palate.alignment.policy import Request


@dataclass(frozen=True, eq=False)
class Drawing:
    """What one answer is drawn with: uniform numbers (max_tokens,), and the temperature."""

    uniform: Tensor
    temperature: float

    @property
    def max_tokens(self) -> int:
        """The most tokens of the answer."""
        return len(self.uniform)

    @classmethod
    def of(cls, request: Request) -> list[Drawing]:
        """Of each of a request's answers; the first ones are the same for any count."""
        generator = torch.Generator().manual_seed(request.seed)
        shape = request.count, request.max_tokens
        uniform = torch.rand(shape, generator=generator, dtype=torch.float64)
        return [cls(row, request.temperature) for row in uniform]

    @staticmethod
    def processor(draws: Sequence[Drawing], prompt: int) -> Any:  # noqa: ANN401
        """A `LogitsProcessor` that leaves one token a row, for a prompt of so many tokens."""
        from transformers import LogitsProcessor

        most = max(draw.max_tokens for draw in draws)
        uniform = torch.zeros(len(draws), most, dtype=torch.float64)
        for row, draw in enumerate(draws):
            uniform[row, : draw.max_tokens] = draw.uniform
        temperature = torch.tensor([draw.temperature for draw in draws])

        class Drawn(LogitsProcessor):
            """Every token but the drawn one is ruled out."""

            def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
                place = input_ids.shape[1] - prompt
                token = draw_token(scores, uniform[:, place].to(scores.device), temperature)
                ruled = torch.full_like(scores, -torch.inf)
                return ruled.scatter_(1, token[:, None], 0.0)

        return Drawn()


def draw_token(scores: Tensor, uniform: Tensor, temperature: Tensor) -> Tensor:
    """(n,) tokens drawn from softmax(scores / temperature), scores (n, V), by uniforms (n,).

    At temperature 0 it is the likeliest token.
    """
    warmth = temperature.to(scores.device)[:, None].clamp_min(torch.finfo(torch.float32).tiny)
    chance = torch.softmax(scores.float() / warmth, dim=-1)
    rising = chance.cumsum(-1)
    # below 1 in float32 too, or else it would fall on the last token, however unlikely that is
    place = uniform.float().clamp_max(1 - torch.finfo(torch.float32).eps)
    drawn = (rising <= place[:, None] * rising[:, -1:]).sum(-1)
    return torch.where(temperature.to(scores.device) > 0, drawn, scores.argmax(-1))
