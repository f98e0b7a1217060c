"""VRF's parts against brute force: the product of Gaussians, the KL, the loss, the settings."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from palate.errors import SettingsError
from palate.methods.base import Step
from palate.methods.vrf import VRF, VRFSettings
from palate.types import PairBatch, UserPosterior

WIDTH = 6


def pairs(count: int, seed: int = 0) -> PairBatch:
    generator = torch.Generator().manual_seed(seed)
    chosen, rejected = torch.randn(2, count, WIDTH, generator=generator).unbind()
    batch = PairBatch.of_pairs(chosen, rejected)
    return replace(batch, features=batch.features.double())


def make(seed: int = 0, **settings: object) -> VRF:
    concrete = VRFSettings(**settings).candidates()[0]  # type: ignore[arg-type]
    method = VRF(concrete, WIDTH)
    method.initialise(pairs(0), torch.Generator().manual_seed(seed))
    return method.double()


def step_of(features: torch.Tensor, chosen: torch.Tensor, rejected: torch.Tensor) -> Step:
    """A step over users who all have as many comparisons, each of weight one."""
    weight = torch.ones(chosen.shape, dtype=features.dtype)
    return Step(features, chosen, rejected, weight, torch.arange(len(chosen)))


def test_user_is_the_product_of_the_pairs_gaussians_on_a_grid() -> None:
    """Equation (5) against the normalised product of densities, point by point."""
    method = make(dimensions=1, prior_expert=False)
    batch = pairs(4)
    posterior = method.infer(batch)
    m, s2 = method.encode_pairs(batch.features[:4], batch.features[4:])
    grid = np.linspace(-30, 30, 400_001)
    log_density = sum(
        stats.norm.logpdf(grid, float(mean), float(variance) ** 0.5)
        for mean, variance in zip(m.detach(), s2.detach(), strict=True)
    )
    density = np.exp(log_density - log_density.max())
    density /= density.sum()
    mean = (grid * density).sum()
    variance = ((grid - mean) ** 2 * density).sum()
    assert posterior.variance is not None
    assert float(posterior.mean) == pytest.approx(mean, abs=1e-6)
    assert float(posterior.variance) == pytest.approx(variance, rel=1e-5)


def test_prior_expert_is_one_more_standard_normal() -> None:
    batch = pairs(3)
    with_expert = make(prior_expert=True).infer(batch)
    without = make(prior_expert=False).infer(batch)
    assert with_expert.variance is not None
    assert without.variance is not None
    torch.testing.assert_close(1 / with_expert.variance, 1 / without.variance + 1)


def test_uncertainty_shrinks_with_answers() -> None:
    method = make()
    sizes = [float(method.infer(pairs(n)).uncertainty) for n in (0, 1, 5, 50)]  # type: ignore[arg-type]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == 1.0


def test_weights_are_nearest_basis_first() -> None:
    method = make(bases=3, dimensions=2)
    with torch.no_grad():
        method.base_mean.copy_(torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 9.0]]))
    at_second = UserPosterior(
        torch.tensor([[4.0, 0.0]]).double(), torch.ones(1, 2).double(), torch.tensor([1])
    )
    weight = method.weights(at_second).mean[0]
    assert int(weight.argmax()) == 1
    assert float(weight.sum()) == pytest.approx(1)
    assert float(weight[1] / weight[0]) == pytest.approx(np.exp(16), rel=1e-6)


def test_kl_estimate_against_a_long_monte_carlo_run() -> None:
    method = make(bases=3, dimensions=2, kl_samples=20_000)
    mean = torch.tensor([[0.5, -1.0]]).double()
    variance = torch.tensor([[0.3, 2.0]]).double()
    got = float(method.kl_loss(mean, variance, torch.Generator().manual_seed(0)).detach())
    rng = np.random.default_rng(1)
    z = rng.normal(mean[0], variance[0].sqrt(), size=(400_000, 2))
    log_q = stats.norm.logpdf(z, mean[0], variance[0].sqrt()).sum(1)
    nu, tau = method.base_mean.detach().numpy(), method.base_log_sd.detach().exp().numpy()
    log_p = np.log(np.mean([stats.norm.pdf(z, nu[k], tau[k]).prod(1) for k in range(3)], axis=0))
    assert got == pytest.approx((log_q - log_p).mean(), abs=0.03)


def test_kl_to_the_standard_prior_is_the_closed_form() -> None:
    method = make(prior="standard", dimensions=2)
    mean, variance = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 0.5]])
    got = float(method.kl_loss(mean, variance, torch.Generator()))
    assert got == pytest.approx(0.5 * (1 + (0.5 - 1 - np.log(0.5))))


def test_diversity_pushes_near_bases_apart_and_leaves_far_ones() -> None:
    method = make(bases=2, dimensions=2, margin=4.0)
    with torch.no_grad():
        method.base_mean.copy_(torch.tensor([[0.0, 0.0], [1.0, 0.0]]))
    assert float(method.diversity_loss().detach()) == pytest.approx(3.0)
    with torch.no_grad():
        method.base_mean[1, 0] = 2.5
    assert float(method.diversity_loss().detach()) == 0.0


def test_gradient_of_the_whole_loss_against_finite_differences() -> None:
    """One step's loss in double precision, the same draws each time."""
    method = make(bases=3, dimensions=2, hidden=4, reference_max=3)
    generator = torch.Generator().manual_seed(3)
    features = torch.randn(12, WIDTH, generator=generator).double()
    rows = torch.randint(0, 12, (2, 4, 6), generator=generator)
    step = step_of(features, rows[0], rows[1])

    def loss() -> torch.Tensor:
        return method.loss(step, torch.Generator().manual_seed(7))

    loss().backward()  # type: ignore[no-untyped-call]
    for name, parameter in method.named_parameters():
        assert parameter.grad is not None, name
        flat = parameter.data.view(-1)
        for i in range(0, len(flat), max(len(flat) // 3, 1)):
            at = float(flat[i])
            values = []
            for shift in (1e-5, -1e-5):
                flat[i] = at + shift
                values.append(float(loss().detach()))
            flat[i] = at
            slope = (values[0] - values[1]) / 2e-5
            assert float(parameter.grad.view(-1)[i]) == pytest.approx(slope, abs=1e-6), name


def test_a_target_is_never_in_its_own_reference() -> None:
    """A user who answered one pair only: nothing may be learned of the encoder from it."""
    method = make(prior_expert=True, kl=0.0)
    features = torch.randn(2, WIDTH, generator=torch.Generator().manual_seed(0)).double()
    zeros, ones = torch.zeros(1, 6, dtype=torch.long), torch.ones(1, 6, dtype=torch.long)
    for seed in range(5):
        step = step_of(features, zeros, ones)
        loss = method.loss(step, torch.Generator().manual_seed(seed))
        method.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        gradient = method.encoder_in.weight.grad
        assert gradient is None or float(gradient.abs().max()) == 0.0


@pytest.mark.parametrize(
    "settings",
    [
        {"attenuated": False},
        {"diversity": 0.0},
        {"kl": 0.0},
        {"prior": "standard"},
        {"aggregation": "mean"},
        {"prior_expert": False},
        {"head": "mlp"},
        {"distance": "mean", "temperature": 0.5},
        {"dropout": 0.3},
    ],
    ids=str,
)
def test_every_ablation_changes_the_loss_and_trains(settings: dict[str, object]) -> None:
    features = torch.randn(40, WIDTH, generator=torch.Generator().manual_seed(1)).double()
    rows = torch.randint(0, 40, (2, 8, 10), generator=torch.Generator().manual_seed(2))
    step = step_of(features, rows[0], rows[1])
    full = make().loss(step, torch.Generator().manual_seed(5))
    method = make(**settings)
    loss = method.loss(step, torch.Generator().manual_seed(5))
    assert torch.isfinite(loss)
    assert float(loss.detach()) != pytest.approx(float(full.detach()), abs=1e-9)
    loss.backward()  # type: ignore[no-untyped-call]
    assert method.base_mean.grad is not None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bases", 1),
        ("dropout", 1.0),
        ("temperature", 0.0),
        ("kl", -1.0),
        ("aggregation", "median"),
        ("log_variance", (2.0, 1.0)),
        ("learning_rate", float("nan")),
        ("steps", 0),
        ("estimation", "magic"),
    ],
)
def test_settings_out_of_range_are_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(SettingsError, match=name):
        VRFSettings(**{name: value})  # type: ignore[arg-type]


def test_diagnostics_tell_a_collapse() -> None:
    method = make(bases=4, dimensions=2)
    same = UserPosterior(torch.zeros(9, 2).double(), torch.ones(9, 2).double(), torch.ones(9))
    assert method.diagnostics(same)["collapsed"] is True
    spread = UserPosterior(
        method.base_mean.detach().repeat(3, 1), torch.ones(12, 2).double(), torch.ones(12)
    )
    report = method.diagnostics(spread)
    assert report["collapsed"] is False
    assert sum(report["users_per_dominant_basis"]) == 12


def test_what_settings_leave_open_is_chosen_among_both_estimations() -> None:
    open_settings = VRFSettings().candidates()
    assert [s.estimation for s in open_settings] == ["gradient"] * 4 + ["moments"]
    assert [s.head for s in open_settings] == ["linear"] * 3 + ["residual", "linear"]
    assert all(s.weight_decay is not None and s.bases and s.temperature for s in open_settings)
    for concrete in open_settings:
        assert concrete.candidates() == [concrete]
    assert [s.estimation for s in VRFSettings(head="mlp").candidates()] == ["gradient"] * 3
    assert len(VRFSettings(weight_decay=1.0, estimation="gradient").candidates()) == 2
    settled = VRFSettings(weight_decay=1.0, estimation="gradient", head="residual")
    assert len(settled.candidates()) == 1


@pytest.mark.parametrize("settings", [{"head": "mlp"}, {"head": "residual"}, {"hidden": 8}])
def test_moments_refuse_what_they_cannot_estimate(settings: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match="moments"):
        VRFSettings(estimation="moments", **settings)  # type: ignore[arg-type]
