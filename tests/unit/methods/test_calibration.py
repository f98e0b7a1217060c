"""Calibration against an optimiser, and what it must leave alone."""

import math

import pytest
import torch
from scipy import optimize

from palate.methods.base import Margins
from palate.methods.calibration import calibrate, calibrated_loss


def answered(scale: float, variance: float, seed: int = 0) -> Margins:
    """Margins `scale` times too large, of comparisons answered by the right ones."""
    generator = torch.Generator().manual_seed(seed)
    true = torch.randn(6000, generator=generator)
    right = torch.rand(6000, generator=generator) < torch.sigmoid(true)
    return Margins(
        scale * torch.where(right, true, -true), torch.full((6000,), variance * scale**2)
    )


@pytest.mark.parametrize("scale", [0.1, 1.0, 7.0])
def test_temperature_is_the_optimisers(scale: float) -> None:
    margins = Margins(answered(scale, 0.0).mean, None)
    reference = optimize.minimize_scalar(
        lambda log: calibrated_loss(margins.mean, None, math.exp(log), 1.0),
        bounds=(-4.5, 5),
        method="bounded",
    )
    found = calibrate(margins)
    assert math.log(found.temperature) == pytest.approx(reference.x, abs=0.06)
    assert found.spread == 1.0
    assert found.log_loss == pytest.approx(reference.fun, abs=1e-3)


def test_far_too_much_variance_is_scaled_down() -> None:
    found = calibrate(answered(1.0, 100.0))
    assert found.spread < 1
    assert found.log_loss < calibrated_loss(answered(1.0, 0.0).mean, None, 1.0, 1.0) + 0.01


def test_the_papers_variance_is_kept_where_nothing_speaks_against_it() -> None:
    assert calibrate(answered(1.0, 0.01)).spread == 1.0


def test_calibration_never_changes_the_order_of_a_pair() -> None:
    margins = answered(3.0, 4.0)
    found = calibrate(margins)
    assert found.temperature > 0
    assert found.spread > 0
