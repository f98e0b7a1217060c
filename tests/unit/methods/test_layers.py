"""Layers draw from the generator that they are given, and from nothing else."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from palate.methods.layers import Perceptron, Residual, draw_linear, dropout, linear


def drawn(kind: type[Perceptron], seed: int) -> Perceptron:
    layer = kind(6, 5, 4)
    layer.draw(torch.Generator().manual_seed(seed))
    return layer


@pytest.mark.parametrize("kind", [Perceptron, Residual])
def test_the_generator_alone_decides(kind: type[Perceptron]) -> None:
    torch.manual_seed(1)
    first = drawn(kind, 7).state_dict()
    torch.manual_seed(2)
    second = drawn(kind, 7).state_dict()
    other = drawn(kind, 8).state_dict()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
        assert not torch.equal(value, other[name]), name


@pytest.mark.parametrize(
    "act",
    [
        lambda generator: linear(3, 4),
        lambda generator: draw_linear(linear(3, 4), generator),
        lambda generator: drawn(Residual, 0),
        lambda generator: dropout(torch.ones(3, 4), 0.5, generator),
    ],
    ids=["make", "draw", "residual", "dropout"],
)
def test_the_global_stream_stands_still(act: Callable[[torch.Generator], object]) -> None:
    before = torch.random.get_rng_state()
    act(torch.Generator().manual_seed(0))
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("gain", [0.1, 1.0, 3.0])
def test_a_layer_starts_evenly_within_its_bound(gain: float) -> None:
    layer = linear(100, 300)
    draw_linear(layer, torch.Generator().manual_seed(0), gain)
    bound = gain / 10
    assert float(layer.weight.detach().abs().max()) <= bound
    assert float(layer.weight.detach().std()) == pytest.approx(bound / 3**0.5, rel=0.02)
    assert layer.bias is not None
    assert float(layer.bias.detach().abs().max()) <= bound


def test_a_perceptron_and_its_residual_are_what_they_say() -> None:
    layer = drawn(Residual, 0)
    assert isinstance(layer, Residual)
    values = torch.randn(7, 6, generator=torch.Generator().manual_seed(1))
    inner = F.gelu(values @ layer.first.weight.T + layer.first.bias)
    expected = inner @ layer.second.weight.T + layer.second.bias + values @ layer.skip.weight.T
    torch.testing.assert_close(layer(values), expected)


def test_a_residual_starts_near_a_map_that_keeps_lengths() -> None:
    layer = Residual(500, 50, 500)
    layer.draw(torch.Generator().manual_seed(0))
    values = torch.randn(40, 500, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        length = layer(values).norm(dim=-1) / values.norm(dim=-1)
        linear_part = values @ layer.skip.weight.T
        away = (layer(values) - linear_part).norm() / linear_part.norm()
    assert float(length.mean()) == pytest.approx(1.0, abs=0.05)
    assert float(away) < 0.1


@pytest.mark.parametrize("kind", [Perceptron, Residual])
def test_the_layers_that_read_are_those_of_the_inputs_width(kind: type[Perceptron]) -> None:
    layer = drawn(kind, 0)
    linears = [module for module in layer.modules() if isinstance(module, nn.Linear)]
    assert {id(one) for one in layer.reading} == {
        id(one) for one in linears if one.in_features == 6
    }


def test_dropout_keeps_the_mean_and_drops_its_share() -> None:
    values = torch.ones(200, 500)
    kept = dropout(values, 0.3, torch.Generator().manual_seed(0))
    assert float((kept == 0).float().mean()) == pytest.approx(0.3, abs=0.01)
    assert float(kept.mean()) == pytest.approx(1.0, abs=0.01)
    assert dropout(values, 0.0, torch.Generator()) is values
