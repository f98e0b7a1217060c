"""Drawn posteriors and pools, and the exact answers to compare with, by quadrature and SciPy."""

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from palate.types import WeightDistribution

Z, W = np.polynomial.hermite_e.hermegauss(200)
W = W / W.sum()


def drawn_weights(K: int = 4, seed: int = 0, scale: float = 1.0) -> WeightDistribution:
    generator = torch.Generator().manual_seed(seed)
    root = scale * torch.randn(K, K, generator=generator)
    mean = torch.randn(1, K, generator=generator)
    return WeightDistribution(mean, (root @ root.T / K + 0.01 * scale * torch.eye(K))[None])


def drawn_pool(P: int = 30, K: int = 4, seed: int = 1) -> Tensor:
    return torch.randn(P, K, generator=torch.Generator().manual_seed(seed))


def sigmoid(t: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(t / 2))


def entropy(p: np.ndarray) -> np.ndarray:
    q = np.clip(p, 1e-300, 1)
    r = np.clip(1 - p, 1e-300, 1)
    return -(p * np.log(q) + (1 - p) * np.log(r))


def exact_information(mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """BALD by 200 nodes of Gauss-Hermite quadrature."""
    p = sigmoid(mean[..., None] + np.sqrt(variance)[..., None] * Z)
    return entropy(p @ W) - entropy(p) @ W


def exact_mode(weights: WeightDistribution, pair: Tensor, answer: int) -> np.ndarray:
    """The mode (K,) after one answer, by SciPy over all K weights."""
    assert weights.covariance is not None
    prior = weights.mean[0].double().numpy()
    precision = np.linalg.inv(weights.covariance[0].double().numpy())
    signed = answer * pair.double().numpy()

    def objective(w: np.ndarray) -> tuple[float, np.ndarray]:
        away, margin = w - prior, w @ signed
        value = away @ precision @ away / 2 + np.logaddexp(0, -margin)
        return float(value), precision @ away - sigmoid(-margin) * signed

    found = minimize(objective, prior, jac=True, method="BFGS", options={"gtol": 1e-9})
    return np.asarray(found.x)
