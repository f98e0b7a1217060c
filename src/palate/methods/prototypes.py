"""PAL's geometries: distances to an ideal point (A), angles to one drawn from a prompt (B)."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from palate.methods.layers import Residual, gelu_slope

#: Start and bound of the scale of cosines, as in CLIP.
COSINE_SCALE = 1 / 0.07
MOST_SCALE = 100.0


@dataclass(frozen=True, eq=False)
class Asked:
    """The distinct prompts (P, D) of comparisons, and which of them each (...) answers."""

    prompts: Tensor
    place: Tensor


class Geometry(nn.Module, ABC):
    """How users' weights over k prototypes become rewards of responses.

    A response is read into a vector (..., d), a comparison into a row of evidence (..., E).
    """

    project: Residual
    log_scale: nn.Parameter

    @property
    def scale(self) -> Tensor:
        """The factor on distances or cosines."""
        return self.log_scale.exp().clamp_max(MOST_SCALE)

    @abstractmethod
    def draw(self, generator: torch.Generator) -> None:
        """Start the parameters."""

    @abstractmethod
    def feature_layers(self) -> list[nn.Linear]:
        """The layers that read features."""

    @abstractmethod
    def evidence(self, chosen: Tensor, rejected: Tensor, asked: Asked | None) -> Tensor:
        """Rows (..., E) of comparisons of responses' places (..., d)."""

    @abstractmethod
    def margins(self, rows: Tensor, weight: Tensor) -> Tensor:
        """Margins (u, n) of comparisons (u, n, E) for users' weights (u, k)."""

    @abstractmethod
    def slopes(self, rows: Tensor, user: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Margins (B,) of rows (B, E) by user (B,) for weights (U, k), and their slopes (B, k)."""

    @abstractmethod
    def rewards(self, features: Tensor, prompt: Tensor | None, weight: Tensor) -> Tensor:
        """Rewards (n,) of responses (n, D) to prompts (n, D) for weights (n, k)."""


class IdealPoint(Geometry):
    """A: a_u = f(P^T w_u); the reward of y is -|f(h) - a_u|."""

    def __init__(self, width: int, hidden: int, dimensions: int, prototypes: int) -> None:
        super().__init__()
        self.project = Residual(width, hidden, dimensions)
        self.prototypes = nn.Parameter(torch.zeros(prototypes, width))
        self.log_scale = nn.Parameter(torch.zeros(()))

    def draw(self, generator: torch.Generator) -> None:
        """Prototypes from N(0, I)."""
        self.project.draw(generator)
        with torch.no_grad():
            self.prototypes.normal_(generator=generator)

    def feature_layers(self) -> list[nn.Linear]:
        """f's."""
        return self.project.reading

    def evidence(self, chosen: Tensor, rejected: Tensor, asked: Asked | None) -> Tensor:
        """Both responses' places, (..., 2 d)."""
        del asked
        return torch.cat([chosen, rejected], dim=-1)

    def margins(self, rows: Tensor, weight: Tensor) -> Tensor:
        """How much nearer chosen is than rejected."""
        ideal = self.project(weight @ self.prototypes)[:, None]
        chosen, rejected = rows.chunk(2, dim=-1)
        return self.scale * (_distance(rejected - ideal) - _distance(chosen - ideal))

    def slopes(self, rows: Tensor, user: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Margins with their derivatives through f."""
        first = self.prototypes @ self.project.first.weight.T
        inner = weight @ first + self.project.first.bias
        skipped = self.project.skip(self.prototypes)
        ideal = self.project.second(F.gelu(inner)) + weight @ skipped
        by_weight = (gelu_slope(inner)[:, None, :] * first) @ self.project.second.weight.T
        by_weight = by_weight + skipped
        chosen, rejected = (part - ideal[user] for part in rows.chunk(2, dim=-1))
        near, far = _distance(chosen), _distance(rejected)
        by_ideal = chosen / near[:, None] - rejected / far[:, None]
        slope = torch.einsum("bd,bkd->bk", by_ideal, by_weight[user])
        return self.scale * (far - near), self.scale * slope

    def rewards(self, features: Tensor, prompt: Tensor | None, weight: Tensor) -> Tensor:
        """Minus the distance to the ideal point."""
        del prompt
        return -self.scale * _distance(
            self.project(features) - self.project(weight @ self.prototypes)
        )


class Angle(Geometry):
    """B: a_u(x) = sum_k w_k g_k(h_prompt); the reward of y is exp(s) cos(f(h_response), a_u(x))."""

    def __init__(self, width: int, hidden: int, dimensions: int, prototypes: int) -> None:
        super().__init__()
        self.project = Residual(width, hidden, dimensions)
        self.parts = [Residual(width, hidden, dimensions) for _ in range(prototypes)]
        self.of_prompt = nn.ModuleList(self.parts)
        self.log_scale = nn.Parameter(torch.tensor(math.log(COSINE_SCALE)))

    def draw(self, generator: torch.Generator) -> None:
        """All projections at random."""
        self.project.draw(generator)
        for part in self.parts:
            part.draw(generator)

    def feature_layers(self) -> list[nn.Linear]:
        """Those of f and of every g_k."""
        return [layer for part in (self.project, *self.parts) for layer in part.reading]

    def _prototypes(self, prompt: Tensor) -> Tensor:
        return torch.stack([part(prompt) for part in self.parts], dim=-2)

    def evidence(self, chosen: Tensor, rejected: Tensor, asked: Asked | None) -> Tensor:
        """Inner products that cosines are made of: (..., k) of the pair, then (..., k k)."""
        assert asked is not None
        places = self._prototypes(asked.prompts)[asked.place]
        toward = F.normalize(chosen, dim=-1)
        away = F.normalize(rejected, dim=-1)
        inner = torch.einsum("...kd,...d->...k", places, toward - away)
        gram = places @ places.mT
        return torch.cat([inner, gram.flatten(-2)], dim=-1)

    def _parts(self, rows: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """c, w . c, G w and |a| from rows (..., k + k k) and weights (..., k)."""
        k = len(self.parts)
        inner, gram = rows[..., :k], rows[..., k:].reshape(*rows.shape[:-1], k, k)
        along = (gram @ weight[..., None])[..., 0]
        length = (along * weight).sum(-1).clamp_min(1e-12).sqrt()
        return inner, (inner * weight).sum(-1), along, length

    def margins(self, rows: Tensor, weight: Tensor) -> Tensor:
        """Differences of cosines."""
        _, toward, _, length = self._parts(rows, weight[:, None])
        return self.scale * toward / length

    def slopes(self, rows: Tensor, user: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Margins with the quotient's derivatives."""
        inner, toward, along, length = self._parts(rows, weight[user])
        slope = inner / length[:, None] - (toward / length**3)[:, None] * along
        return self.scale * toward / length, self.scale * slope

    def rewards(self, features: Tensor, prompt: Tensor | None, weight: Tensor) -> Tensor:
        """Scaled cosines to the user's point for the prompt."""
        assert prompt is not None
        ideal = (weight[..., None] * self._prototypes(prompt)).sum(-2)
        return self.scale * F.cosine_similarity(self.project(features), ideal, dim=-1)


def _distance(away: Tensor) -> Tensor:
    """Euclidean norms (..., d) -> (...), with a slope at zero."""
    return (away.square().sum(-1) + 1e-8).sqrt()
