"""How large rewards and their uncertainty are: two numbers that make probabilities honest."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from palate.maths import bradley_terry_loss, mackay_margin
from palate.methods.base import Margins

#: Factors tried on the rewards, evenly in the logarithm, and on the weights' covariance.
TEMPERATURES = torch.logspace(-2.0, 2.5, 181)
SPREADS = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003)
#: Log-loss, in nats, that a spread other than 1 has to win.
WORTH = 0.005


@dataclass(frozen=True)
class Calibration:
    """Factors on the rewards and on the weights' covariance, and the mean log-loss with them."""

    temperature: float
    spread: float
    log_loss: float


def calibrate(margins: Margins) -> Calibration:
    """The factors with the least log-loss; a spread other than the paper's 1 must be worth it."""
    if margins.variance is None:
        return _best_temperature(margins.mean, None, 1.0)
    trials = [_best_temperature(margins.mean, margins.variance, spread) for spread in SPREADS]
    return min(trials, key=lambda trial: trial.log_loss + WORTH * (trial.spread != 1))


def _best_temperature(mean: Tensor, variance: Tensor | None, spread: float) -> Calibration:
    losses = [calibrated_loss(mean, variance, float(t), spread) for t in TEMPERATURES]
    best = losses.index(min(losses))
    return Calibration(float(TEMPERATURES[best]), spread, losses[best])


def calibrated_loss(
    mean: Tensor, variance: Tensor | None, temperature: float, spread: float
) -> float:
    """Mean -log P(chosen) of margins (B,) after both factors; infinite where it is no number."""
    scaled = None if variance is None else variance * (spread * temperature**2)
    loss = float(bradley_terry_loss(mackay_margin(mean * temperature, scaled)).mean())
    return loss if math.isfinite(loss) else math.inf
