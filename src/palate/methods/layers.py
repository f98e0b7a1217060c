"""Layers whose every random number comes from a passed generator."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def linear(inputs: int, outputs: int, *, bias: bool = True) -> nn.Linear:
    """A linear layer whose parameters `draw_linear` fills: nothing draws from a global stream."""
    layer = nn.utils.skip_init(nn.Linear, inputs, outputs, bias=bias)  # type: ignore[no-untyped-call]
    assert isinstance(layer, nn.Linear)
    return layer


def draw_linear(layer: nn.Linear, generator: torch.Generator, gain: float = 1.0) -> None:
    """Uniform start within gain / sqrt(inputs), as PyTorch's own layers; biases as well."""
    bound = gain / math.sqrt(layer.in_features)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.uniform_(-bound, bound, generator=generator)


def dropout(values: Tensor, rate: float, generator: torch.Generator) -> Tensor:
    """Inverted dropout from a passed generator."""
    if rate == 0:
        return values
    kept = torch.rand(values.shape, generator=generator, device=values.device) >= rate
    return values * kept / (1 - rate)


def gelu_slope(values: Tensor) -> Tensor:
    """The derivative of GELU: Phi(t) + t phi(t)."""
    bell = torch.exp(-values.square() / 2) / math.sqrt(2 * math.pi)
    return 0.5 * (1 + torch.erf(values / math.sqrt(2))) + values * bell


class Perceptron(nn.Module):
    """Two layers with a GELU between: (..., inputs) -> (..., outputs)."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.first = linear(inputs, hidden)
        self.second = linear(hidden, outputs)

    @property
    def reading(self) -> list[nn.Linear]:
        """The layers that read the inputs."""
        return [self.first]

    def draw(self, generator: torch.Generator) -> None:
        """Start the parameters."""
        draw_linear(self.first, generator)
        draw_linear(self.second, generator)

    def forward(self, values: Tensor) -> Tensor:
        """The network's output."""
        output: Tensor = self.second(F.gelu(self.first(values)))
        return output


class Residual(Perceptron):
    """A perceptron added to a linear map, from which it starts."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__(inputs, hidden, outputs)
        self.skip = linear(inputs, outputs, bias=False)

    @property
    def reading(self) -> list[nn.Linear]:
        """The layers that read the inputs."""
        return [self.first, self.skip]

    def draw(self, generator: torch.Generator, gain: float = math.sqrt(3)) -> None:
        """Start near a linear map, one that keeps lengths on average unless told otherwise."""
        draw_linear(self.first, generator)
        draw_linear(self.second, generator, gain=0.1)
        draw_linear(self.skip, generator, gain=gain)

    def forward(self, values: Tensor) -> Tensor:
        """The sum."""
        output: Tensor = super().forward(values) + self.skip(values)
        return output
