"""BRF against scipy and finite differences: the update of the prior that VRF's reading gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import optimize

from palate.errors import SettingsError
from palate.methods.brf import BRF, ENOUGH, FLOOR, BRFSettings
from palate.methods.vrf import VRF
from palate.training import fit
from palate.types import Evidence, UserPosterior
from tests.unit.methods.worlds import random_pairs

Array = NDArray[np.float64]
WIDTH = 12
COUNTS = [12, 15, 20, 11, 3, 30, 14, 18]
SETTINGS = {"estimation": "gradient", "weight_decay": 1.0, "steps": 20}


def fitted(**settings: object) -> BRF:
    built = BRFSettings(**{**SETTINGS, **settings})  # type: ignore[arg-type]
    method = fit(BRF, built, random_pairs(COUNTS, WIDTH), seed=0).method
    assert isinstance(method, BRF)
    return method


@pytest.fixture(scope="module", params=["linear", "residual", "mlp"])
def method(request: pytest.FixtureRequest) -> BRF:
    return fitted(head=request.param)


def prior_mean(method: BRF, evidence: Evidence) -> torch.Tensor:
    """VRF's weights of the users, from the columns that VRF reads."""
    columns = 2 * method.settings.dimensions
    read = Evidence(evidence.rows[:, :columns], evidence.offsets, evidence.weight)
    posterior = VRF.posterior(method, read)
    assert posterior.variance is not None
    return method.match(posterior.mean, posterior.variance)


def evidence_of(method: BRF, counts: list[int], seed: int = 5) -> Evidence:
    pairs = random_pairs(counts, WIDTH, seed)
    return Evidence(method.evidence(pairs), pairs.offsets)


def test_nobody_has_the_weights_of_the_population_and_the_priors_covariance(method: BRF) -> None:
    evidence = evidence_of(method, [0])
    posterior = method.posterior(evidence)
    torch.testing.assert_close(posterior.mean, prior_mean(method, evidence), rtol=0, atol=1e-6)
    assert posterior.covariance is not None
    product = posterior.covariance[0].double() @ method.precision.double()
    torch.testing.assert_close(product, torch.eye(8, dtype=torch.double), rtol=0, atol=1e-3)


def objective(weights: Array, method: BRF, evidence: Evidence, user: int) -> float:
    """Minus the log of a user's unnormalised posterior, in float64."""
    rows = slice(int(evidence.offsets[user]), int(evidence.offsets[user + 1]))
    delta = evidence.rows[rows, 2 * method.settings.dimensions :].double().numpy()
    away = weights - prior_mean(method, evidence)[user].double().numpy()
    precision = method.precision.double().numpy()
    return float(np.logaddexp(0, -(delta @ weights)).sum() + away @ precision @ away / 2)


def test_the_mode_is_the_one_that_scipy_finds(method: BRF) -> None:
    evidence = evidence_of(method, [1, 5, 20])
    found = method.posterior(evidence).mean.double().numpy()
    for user in range(3):
        start = prior_mean(method, evidence)[user].double().numpy()
        best = optimize.minimize(
            objective, start, (method, evidence, user), method="BFGS", options={"gtol": 1e-9}
        )
        value = objective(found[user], method, evidence, user)
        assert value <= best.fun + 1e-6
        np.testing.assert_allclose(found[user], best.x, atol=2e-3)


def test_the_covariance_is_the_inverse_of_the_curvature(method: BRF) -> None:
    evidence = evidence_of(method, [6])
    posterior = method.posterior(evidence)
    assert posterior.covariance is not None
    at, size, K = posterior.mean[0].double().numpy(), 1e-3, 8
    steps = size * np.eye(K)
    hessian = np.array(
        [
            [
                sum(
                    sign * objective(at + first + sign * second, method, evidence, 0)
                    - sign * objective(at - first + sign * second, method, evidence, 0)
                    for sign in (1, -1)
                )
                / (4 * size**2)
                for second in steps
            ]
            for first in steps
        ]
    )
    np.testing.assert_allclose(
        posterior.covariance[0].double().numpy() @ hessian, np.eye(K), atol=0.02
    )


@pytest.mark.parametrize("estimation", ["gradient", "moments"])
@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_the_prior_is_as_wide_as_tastes_differ(estimation: str, scale: float) -> None:
    """Over the users of whom enough is known, plus the floor."""
    method = fitted(estimation=estimation, prior_scale=scale)
    pairs = random_pairs(COUNTS, WIDTH)
    weights = prior_mean(method, Evidence(method.evidence(pairs), pairs.offsets))
    informed = weights[torch.tensor(COUNTS) >= ENOUGH].double().numpy()
    delta = method.evidence(pairs)[:, 2 * method.settings.dimensions :].double().numpy()
    floor = FLOOR / (delta - delta.mean(1, keepdims=True)).var()
    expected = scale * np.cov(informed.T, bias=True) + floor * np.eye(informed.shape[1])
    product = expected @ method.precision.double().numpy()
    np.testing.assert_allclose(product, np.eye(len(expected)), atol=5e-3)


def test_without_width_it_is_vrf() -> None:
    """A prior that allows nothing but w_u leaves VRF's weights as they were."""
    method = fitted(prior_scale=0.0)
    method.precision *= 1e8
    evidence = evidence_of(method, [4, 9])
    torch.testing.assert_close(
        method.posterior(evidence).mean, prior_mean(method, evidence), rtol=0, atol=1e-4
    )


def test_answers_become_likelier_than_under_the_prior_mean() -> None:
    method = fitted(prior_scale=30.0)
    evidence = evidence_of(method, [20, 20])
    delta = evidence.rows[:, 2 * method.settings.dimensions :]

    def loss(weights: torch.Tensor) -> torch.Tensor:
        margin = (weights[evidence.user] * delta).sum(-1)
        return -torch.nn.functional.logsigmoid(margin).mean()

    assert loss(method.posterior(evidence).mean) < loss(prior_mean(method, evidence)) - 1e-4


def test_a_collapse_is_reported() -> None:
    method = fitted()
    same = UserPosterior(torch.ones(4, 8), None, torch.ones(4))
    assert method.diagnostics(same)["collapsed"] is True
    apart = UserPosterior(torch.randn(4, 8), None, torch.ones(4))
    report = method.diagnostics(apart)
    assert report["collapsed"] is False
    assert len(report["prior_sd"]) == 8


def test_a_prior_narrower_than_none_is_refused() -> None:
    with pytest.raises(SettingsError, match="prior_scale"):
        BRFSettings(prior_scale=-1.0)
