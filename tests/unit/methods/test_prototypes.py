"""PAL's geometries: slopes against autograd, margins against differences of rewards."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from palate.methods.prototypes import MOST_SCALE, Angle, Asked, Geometry, IdealPoint

WIDTH, HIDDEN, PLACES, K = 6, 5, 4, 3
KINDS = [IdealPoint, Angle]
kinds = pytest.mark.parametrize("kind", KINDS)


def make(kind: type[IdealPoint] | type[Angle], seed: int = 0) -> Geometry:
    geometry = kind(WIDTH, HIDDEN, PLACES, K)
    geometry.draw(torch.Generator().manual_seed(seed))
    with torch.no_grad():
        geometry.log_scale.fill_(0.7)
        for layer in geometry.modules():  # so that the bent part matters as much as the straight
            if hasattr(layer, "second"):
                layer.second.weight.mul_(10)
    return geometry.double()


def texts(count: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Hidden states (n, D) of chosen, rejected, and prompts."""
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(3, count, WIDTH, generator=generator).double().unbind())  # type: ignore[return-value]


def read(geometry: Geometry, chosen: Tensor, rejected: Tensor, prompt: Tensor) -> Tensor:
    """Rows of comparisons with a prompt each."""
    asked = Asked(prompt, torch.arange(len(prompt)))
    return geometry.evidence(geometry.project(chosen), geometry.project(rejected), asked)


def weights(users: int, seed: int = 5) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.randn(users, K, generator=generator)).softmax(-1).double()


@kinds
def test_slopes_are_those_of_autograd(kind: type[IdealPoint] | type[Angle]) -> None:
    """For weights anywhere, not on the simplex alone."""
    geometry = make(kind)
    rows = read(geometry, *texts(7, 1)).detach()
    user = torch.tensor([0, 0, 1, 1, 1, 2, 2])
    weight = (1.7 * weights(3)).requires_grad_()
    margin, slope = geometry.slopes(rows, user, weight)
    for answer in range(7):
        expected = torch.autograd.grad(margin[answer], weight, retain_graph=True)[0]
        torch.testing.assert_close(slope[answer], expected[user[answer]])
        others = torch.arange(3) != user[answer]
        assert not expected[others].any()


@kinds
def test_slopes_bring_the_margins_of_training(kind: type[IdealPoint] | type[Angle]) -> None:
    """margins() over (u, n) and slopes() over (B,) are one formula in two shapes."""
    geometry = make(kind)
    rows = read(geometry, *texts(8, 2))
    weight = weights(2)
    by_user = geometry.margins(rows.view(2, 4, -1), weight)
    flat, _ = geometry.slopes(rows, torch.arange(2).repeat_interleave(4), weight)
    torch.testing.assert_close(by_user.flatten(), flat)


@kinds
def test_margins_are_differences_of_rewards(kind: type[IdealPoint] | type[Angle]) -> None:
    geometry = make(kind)
    chosen, rejected, prompt = texts(9, 3)
    weight = weights(9)
    margin, _ = geometry.slopes(read(geometry, chosen, rejected, prompt), torch.arange(9), weight)
    better, worse = (geometry.rewards(side, prompt, weight) for side in (chosen, rejected))
    torch.testing.assert_close(margin, better - worse)


@kinds
def test_swapping_the_responses_negates_the_margin(kind: type[IdealPoint] | type[Angle]) -> None:
    geometry = make(kind)
    chosen, rejected, prompt = texts(5, 4)
    user, weight = torch.zeros(5, dtype=torch.long), weights(1)
    one, slope = geometry.slopes(read(geometry, chosen, rejected, prompt), user, weight)
    two, back = geometry.slopes(read(geometry, rejected, chosen, prompt), user, weight)
    torch.testing.assert_close(one, -two)
    torch.testing.assert_close(slope, -back)


def test_the_ideal_point_is_the_best_response() -> None:
    """A: a response at the user's own point has the largest reward there is."""
    geometry = make(IdealPoint)
    assert isinstance(geometry, IdealPoint)
    weight = weights(1)
    at = weight @ geometry.prototypes
    elsewhere = torch.cat([at, texts(50, 6)[0]])
    rewards = geometry.rewards(elsewhere, None, weight.expand(51, -1))
    assert int(rewards.argmax()) == 0
    assert float(rewards.detach()[0]) == pytest.approx(0.0, abs=1e-3)
    distance = (geometry.project(elsewhere) - geometry.project(at)).norm(dim=-1)
    torch.testing.assert_close(rewards[1:], -math.exp(0.7) * distance[1:])


def test_the_angle_is_a_scaled_cosine_to_the_users_point_for_the_prompt() -> None:
    geometry = make(Angle)
    assert isinstance(geometry, Angle)
    response, _, prompt = texts(6, 7)
    weight = weights(6)
    point = sum(weight[:, k : k + 1] * geometry.parts[k](prompt) for k in range(K))
    assert isinstance(point, Tensor)
    cosine = F.cosine_similarity(geometry.project(response), point, dim=-1)
    torch.testing.assert_close(geometry.rewards(response, prompt, weight), math.exp(0.7) * cosine)


@kinds
def test_only_the_angle_reads_the_prompt(kind: type[IdealPoint] | type[Angle]) -> None:
    geometry = make(kind)
    chosen, rejected, prompt = texts(4, 8)
    one = read(geometry, chosen, rejected, prompt)
    other = read(geometry, chosen, rejected, prompt + 1)
    assert torch.equal(one, other) == (kind is IdealPoint)


@kinds
@pytest.mark.parametrize("log_scale", [10.0, 80.0])
def test_the_scale_is_bounded(kind: type[IdealPoint] | type[Angle], log_scale: float) -> None:
    geometry = make(kind)
    with torch.no_grad():
        geometry.log_scale.fill_(log_scale)
    assert float(geometry.scale.detach()) == MOST_SCALE
    chosen, _, prompt = texts(3, 9)
    assert bool(torch.isfinite(geometry.rewards(chosen, prompt, weights(3))).all())


def test_scales_start_as_declared() -> None:
    assert float(IdealPoint(2, 2, 2, 2).scale.detach()) == 1.0
    assert float(Angle(2, 2, 2, 2).scale.detach()) == pytest.approx(1 / 0.07)


def test_a_response_at_the_ideal_point_has_a_finite_slope() -> None:
    geometry = make(IdealPoint)
    assert isinstance(geometry, IdealPoint)
    weight = weights(1)
    at = weight @ geometry.prototypes
    rows = geometry.evidence(geometry.project(at), geometry.project(texts(1, 1)[0]), None)
    margin, slope = geometry.slopes(rows, torch.zeros(1, dtype=torch.long), weight)
    assert bool(torch.isfinite(margin).all())
    assert bool(torch.isfinite(slope).all())


@kinds
def test_the_layers_that_read_features_are_all_named(
    kind: type[IdealPoint] | type[Angle],
) -> None:
    geometry = make(kind)
    expected = {
        id(layer)
        for layer in geometry.modules()
        if isinstance(layer, torch.nn.Linear) and layer.in_features == WIDTH
    }
    assert {id(layer) for layer in geometry.feature_layers()} == expected
