"""The direction to ask in, against sampled directions."""

import math

import pytest
import torch

from palate.errors import CannotRunError, DataError
from palate.questions import direction
from palate.types import WeightDistribution
from tests.unit.questions.worlds import drawn_weights


def test_no_direction_within_the_radius_is_less_known() -> None:
    weights = drawn_weights()
    assert weights.covariance is not None
    targets = direction(weights, 2.0)
    v = targets[0] - targets[1]
    assert float(v.norm()) == pytest.approx(2.0, rel=1e-5)
    assert torch.equal(targets[0], -targets[1])
    drawn = torch.randn(20_000, 4, generator=torch.Generator().manual_seed(0))
    tried = torch.nn.functional.normalize(drawn, dim=-1) * 2
    width = ((tried @ weights.covariance[0]) * tried).sum(-1)
    best = float(v @ weights.covariance[0] @ v)
    assert float(width.max()) <= best * (1 + 1e-5)
    assert float(width.max()) == pytest.approx(best, rel=0.05)


def test_within_reach_the_scale_of_a_basis_does_not_count() -> None:
    """A basis written ten times larger, with weights ten times smaller, is the same model."""
    weights, reach = drawn_weights(), torch.diag(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    assert weights.covariance is not None
    scale = torch.diag(torch.tensor([10.0, 1.0, 0.1, 1.0]))
    back = torch.linalg.inv(scale)
    rescaled = WeightDistribution(weights.mean @ back, back @ weights.covariance @ back)
    first = direction(weights, 1.5, reach)
    second = direction(rescaled, 1.5, scale @ reach @ scale)
    torch.testing.assert_close(first @ scale, second, atol=1e-4, rtol=1e-4)
    v = first[0] - first[1]
    assert float(v @ torch.linalg.inv(reach) @ v) == pytest.approx(1.5**2, rel=1e-4)


def test_the_first_target_is_the_one_expected_to_be_preferred() -> None:
    for seed in range(10):
        weights = drawn_weights(seed=seed)
        first, second = direction(weights) @ weights.mean[0]
        assert float(first) >= float(second)


def test_what_has_no_direction_is_refused() -> None:
    weights = drawn_weights()
    with pytest.raises(CannotRunError, match="no uncertainty"):
        direction(WeightDistribution(weights.mean, None))
    for radius in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(DataError, match="radius"):
            direction(weights, radius)
    with pytest.raises(DataError, match=r"expected \(4, 4\)"):
        direction(weights, 1.0, torch.eye(3))
    with pytest.raises(DataError, match="not finite"):
        direction(weights, 1.0, torch.full((4, 4), math.nan))
