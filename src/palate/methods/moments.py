"""Moments of users' differences: the directions in which tastes differ, and clusters of users."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

#: Rounds of Lloyd's algorithm.
ROUNDS = 25
#: Ridge of the whitening, as a share of the mean spread: differences lie in few directions.
RIDGE = 0.3


@dataclass(frozen=True, eq=False)
class TasteMoments:
    """Users in the space of their leading differences, by moments.

    A comparison's standardised difference delta (D,) is read as evidence
    `delta @ directions - offset` (d,), a noisy sight of where its user stands: users are scattered
    with variance 1 in each dimension, evidence of one user with variance `noise` (d,).

    directions: (D, d). offset: (d,). population: (D,) the reward that everybody shares.
    rewards: (D, d) the reward that one unit of each dimension adds. centres: (K, d) of clusters.
    """

    directions: Tensor
    offset: Tensor
    noise: Tensor
    population: Tensor
    rewards: Tensor
    centres: Tensor


def taste_moments(
    delta: Tensor, user: Tensor, dimensions: int, clusters: int, generator: torch.Generator
) -> TasteMoments:
    """Moments of differences delta (B, D) by user (B,).

    As in linear discriminants, directions are sought where users' means differ most against the
    spread of all differences (ridged). Scatter that the number of comparisons explains
    is taken off each dimension's variance before users are placed.
    """
    count = torch.bincount(user).to(delta.dtype)
    present = count > 0
    covariance = delta.T @ delta / len(delta)
    values, vectors = torch.linalg.eigh(covariance)
    root = vectors @ ((values + RIDGE * values.mean()).rsqrt()[:, None] * vectors.T)
    white = delta @ root
    total = white.new_zeros(len(count), white.shape[1]).index_add(0, user, white)
    count, total = count[present], total[present]
    mean = total.sum(0) / count.sum()
    weighted = (total / count[:, None] - mean) * count.sqrt()[:, None]
    axes = torch.linalg.eigh(weighted.T @ weighted).eigenvectors.flip(1)[:, :dimensions]
    place = (total / count[:, None] - mean) @ axes
    within = ((white - mean) @ axes).var(0).clamp_min(1e-6)
    explained = (within * (1 / count)[:, None]).mean(0)
    signal = (place.square().mean(0) - explained).clamp_min(0.02 * within)
    scale = signal.rsqrt()
    noise = within * scale.square()
    shrunk = place * scale * (count[:, None] / (count[:, None] + noise))
    return TasteMoments(
        directions=root @ axes * scale,
        offset=mean @ axes * scale,
        noise=noise,
        population=root @ mean,
        rewards=root @ axes / scale,
        centres=_cluster(shrunk, clusters, generator),
    )


def _cluster(points: Tensor, clusters: int, generator: torch.Generator) -> Tensor:
    """Centres (K, d) of points (U, d): k-means from points drawn far apart (k-means++)."""
    centres = points[torch.randint(len(points), (1,), generator=generator)]
    for _ in range(clusters - 1):
        far = torch.cdist(points, centres).square().min(1).values + 1e-9
        centres = torch.cat([centres, points[torch.multinomial(far, 1, generator=generator)]])
    for _ in range(ROUNDS):
        nearest = torch.cdist(points, centres).argmin(1)
        size = torch.bincount(nearest, minlength=clusters)[:, None]
        sums = torch.zeros_like(centres).index_add(0, nearest, points)
        centres = torch.where(size > 0, sums / size.clamp_min(1), centres)
    return centres
