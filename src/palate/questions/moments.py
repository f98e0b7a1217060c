"""Mean and variance of the margins of a pool's pairs, and what is refused at the door."""

from __future__ import annotations

import torch
from torch import Tensor

from palate.errors import CannotRunError, DataError
from palate.types import WeightDistribution


def moments(weights: WeightDistribution, delta: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance (U, P) of the margins w . delta of pairs (P, K), or (U, P, K)."""
    assert weights.covariance is not None
    mean = weights.mean @ delta.T if delta.ndim == 2 else (delta @ weights.mean[..., None])[..., 0]
    root = square_root(weights.covariance.double()).to(delta.dtype)
    return mean, (delta @ root).square().sum(-1)


def square_root(covariance: Tensor) -> Tensor:
    """S (..., K, K) with S S^T = covariance, which may be singular."""
    values, vectors = torch.linalg.eigh(covariance)
    root: Tensor = vectors * values.clamp_min(0).sqrt()[..., None, :]
    return root


def require_uncertainty(weights: WeightDistribution) -> None:
    """Raise `CannotRunError` for weights of a method without uncertainty."""
    if weights.covariance is None:
        raise CannotRunError(
            "the method gives no uncertainty of a user's weights, which every rule but 'random' "
            "reads"
        )


def require_one_user(weights: WeightDistribution) -> None:
    """Raise `DataError` unless the weights are of one user."""
    if len(weights.mean) != 1:
        raise DataError(f"questions are for one user at a time, not for {len(weights.mean)}")


def require_pool(weights: WeightDistribution, delta: Tensor, *, own: bool = False) -> None:
    """Raise `DataError` unless pool and weights fit each other and are finite.

    delta: (P, K) with P of at least 1; with `own` also (U, P, K), a pool for each user.
    """
    users, bases = weights.mean.shape
    shaped = delta.ndim == 2 or (own and delta.ndim == 3 and len(delta) == users)
    if not shaped or delta.shape[-1] != bases:
        raise DataError(
            f"differences of basis rewards are {tuple(delta.shape)}; expected (pairs, {bases})"
        )
    if delta.shape[-2] == 0:
        raise DataError("the pool holds no pair to ask about")
    covariance = weights.covariance
    if covariance is not None and covariance.shape != (users, bases, bases):
        raise DataError(
            f"the weights' covariance is {tuple(covariance.shape)}; "
            f"expected ({users}, {bases}, {bases})"
        )
    tables = [weights.mean, delta] if covariance is None else [weights.mean, delta, covariance]
    if not all(bool(torch.isfinite(table).all()) for table in tables):
        raise DataError("weights or differences of basis rewards hold numbers that are not finite")
