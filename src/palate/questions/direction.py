"""The best question of all there could be: a direction in the space of the basis rewards."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from palate.errors import DataError
from palate.questions.moments import require_one_user, require_uncertainty, square_root
from palate.types import WeightDistribution


def direction(
    weights: WeightDistribution, radius: float = 1.0, reach: Tensor | None = None
) -> Tensor:
    """(2, K) targets +v/2 and -v/2 in the space of basis rewards for a pair to be generated.

    v maximises |v|_C over |v| <= radius, the top eigenvector of the covariance C (PReF, section 4):
    write one response whose basis rewards lie towards +v/2 from the usual ones, and one towards
    -v/2. reach: covariance (K, K) of the differences that pairs of texts do have; then v is sought
    over |v|_{reach^-1} <= radius, so that no basis counts more for being written larger. The first
    target is the one that the user is expected to prefer.
    """
    require_one_user(weights)
    require_uncertainty(weights)
    assert weights.covariance is not None
    if not 0 < radius < math.inf:
        raise DataError(f"the radius is {radius}; expected a number above 0")
    covariance = weights.covariance[0].double()
    K = len(covariance)
    if reach is not None and reach.shape != (K, K):
        raise DataError(f"reach is {tuple(reach.shape)}; expected ({K}, {K})")
    if reach is not None and not bool(torch.isfinite(reach).all()):
        raise DataError("reach holds numbers that are not finite")
    root = torch.eye(K, dtype=torch.float64) if reach is None else square_root(reach.double())
    top = torch.linalg.eigh(root.T @ covariance @ root).eigenvectors[:, -1]
    v = radius * (root @ top).to(weights.mean.dtype)
    if float(v @ weights.mean[0]) < 0:
        v = -v
    return torch.stack([v / 2, -v / 2])
