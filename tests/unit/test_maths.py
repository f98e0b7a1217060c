"""Formulas against something independent: quadrature, sampled transport, Monte Carlo, autograd."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from palate import maths


@pytest.mark.parametrize("mean", [-4.0, -1.0, 0.0, 0.3, 2.5])
@pytest.mark.parametrize("variance", [0.0, 0.2, 1.0, 9.0])
def test_mackay_is_near_the_integral(mean: float, variance: float) -> None:
    logit = maths.mackay_margin(torch.tensor(mean), torch.tensor(variance))
    approximate = torch.sigmoid(logit).item()
    sd = math.sqrt(variance) or 1e-9

    def integrand(t: float) -> float:
        return float(stats.norm.pdf(t, mean, sd) / (1 + math.exp(-t)))

    exact = integrate.quad(integrand, mean - 10 * sd, mean + 10 * sd, points=[mean])[0]
    assert approximate == pytest.approx(exact, abs=0.02)


def test_mackay_without_variance_is_the_margin() -> None:
    mean = torch.tensor([1.0, -2.0])
    assert maths.mackay_margin(mean, None) is mean


def test_variance_never_changes_the_order_of_a_pair() -> None:
    mean = torch.linspace(-3, 3, 25)
    for variance in (0.0, 1.0, 100.0):
        margin = maths.mackay_margin(mean, torch.full_like(mean, variance))
        assert torch.equal(margin.sign(), mean.sign())


def test_squared_w2_equals_optimal_transport_of_samples() -> None:
    """In one dimension the optimal coupling sorts; diagonal Gaussians couple axis by axis."""
    rng = np.random.default_rng(0)
    mean, sd = rng.normal(size=(2, 3)), rng.uniform(0.3, 2, size=(2, 3))
    means, sds = rng.normal(size=(4, 3)), rng.uniform(0.3, 2, size=(4, 3))
    exact = maths.squared_w2(*(torch.from_numpy(a) for a in (mean, sd, means, sds)))
    quantiles = stats.norm.ppf((np.arange(200_000) + 0.5) / 200_000)
    for u in range(2):
        for k in range(4):
            first = mean[u, :, None] + sd[u, :, None] * quantiles
            second = means[k, :, None] + sds[k, :, None] * quantiles
            transport = ((first - second) ** 2).mean(1).sum()
            assert exact[u, k].item() == pytest.approx(transport, rel=1e-3)


def test_mixture_density_and_entropy_against_scipy() -> None:
    rng = np.random.default_rng(1)
    means, sds = rng.normal(size=(3, 2)), rng.uniform(0.5, 2, size=(3, 2))
    z = rng.normal(size=(5, 2))
    parts = [stats.multivariate_normal(m, np.diag(s**2)) for m, s in zip(means, sds, strict=True)]
    expected = np.log(np.mean([part.pdf(z) for part in parts], axis=0))
    got = maths.mixture_log_density(*(torch.from_numpy(a) for a in (z, means, sds)))
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-9)
    entropy = maths.gaussian_entropy(torch.from_numpy(sds))
    np.testing.assert_allclose(entropy.numpy(), [part.entropy() for part in parts], rtol=1e-9)


def test_categorical_covariance_is_the_weighted_variance() -> None:
    """VRF (7): sum_k w_k (delta_k - mu)^2; zero at the corners of the simplex."""
    rng = np.random.default_rng(2)
    weight, delta = rng.dirichlet(np.ones(5)), rng.normal(size=5)
    covariance = maths.categorical_covariance(torch.from_numpy(weight)).numpy()
    naive = (weight * (delta - weight @ delta) ** 2).sum()
    assert delta @ covariance @ delta == pytest.approx(naive, rel=1e-12)
    corner = maths.categorical_covariance(torch.eye(5, dtype=torch.float64)[2])
    assert float(corner.abs().max()) == 0.0


def test_weighted_variance_is_concave_with_hessian_minus_two_delta_delta() -> None:
    """VRF, proposition 1 and (10)."""
    delta = torch.tensor([0.4, -1.2, 2.0], dtype=torch.float64)

    def spread(weight: torch.Tensor) -> torch.Tensor:
        mean = weight @ delta
        # as a function of free weights: E[delta^2] - E[delta]^2, equal on the simplex
        return weight @ delta.square() - mean.square()

    at = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
    hessian = torch.autograd.functional.hessian(spread, at)
    torch.testing.assert_close(hessian, -2 * torch.outer(delta, delta))
    covariance = maths.categorical_covariance(at)
    assert float(spread(at)) == pytest.approx(float(delta @ covariance @ delta))


@pytest.mark.parametrize(("mean", "variance"), [(1.3, 0.5), (-2.0, 3.0), (0.4, 40.0)])
def test_gradients_of_the_attenuated_loss_are_the_papers(mean: float, variance: float) -> None:
    """VRF (12) and (13): dL/dmu = -(1 - s(z)) c, dL/dsigma^2 = (1 - s(z)) mu c^3 pi / 16."""
    mu = torch.tensor(mean, dtype=torch.float64, requires_grad=True)
    s2 = torch.tensor(variance, dtype=torch.float64, requires_grad=True)
    maths.bradley_terry_loss(maths.mackay_margin(mu, s2)).backward()
    c = (1 + math.pi * variance / 8) ** -0.5
    short = 1 - 1 / (1 + math.exp(-mean * c))
    assert mu.grad is not None
    assert s2.grad is not None
    assert float(mu.grad) == pytest.approx(-short * c)
    assert float(s2.grad) == pytest.approx(short * mean * c**3 * math.pi / 16)


def test_gradients_vanish_as_uncertainty_grows() -> None:
    """VRF, proposition 2."""
    sizes = []
    for variance in (1.0, 1e2, 1e4, 1e6):
        mu = torch.tensor(-1.0, dtype=torch.float64, requires_grad=True)
        s2 = torch.tensor(variance, dtype=torch.float64, requires_grad=True)
        maths.bradley_terry_loss(maths.mackay_margin(mu, s2)).backward()
        assert mu.grad is not None
        assert s2.grad is not None
        sizes.append((abs(float(mu.grad)), abs(float(s2.grad))))
    assert sizes == sorted(sizes, reverse=True)
    assert max(sizes[-1]) < 1e-3


def test_loss_stays_finite_where_log_of_sigmoid_would_not() -> None:
    assert float(maths.bradley_terry_loss(torch.tensor(-1e4))) == pytest.approx(1e4)
