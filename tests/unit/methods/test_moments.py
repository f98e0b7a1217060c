"""Moments against a world of Gaussian tastes whose truth is known."""

import numpy as np
import pytest
import torch
from scipy import linalg

from palate.methods.moments import TasteMoments, taste_moments
from palate.methods.vrf import VRF, VRFSettings
from palate.training import fit
from palate.types import PairBatch

WIDTH, TASTES, USERS, ANSWERS = 24, 3, 150, 60


def planted(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Differences (B, D), users (B,), true directions (D, 3), true places (U, 3)."""
    rng = np.random.default_rng(seed)
    axes = np.linalg.qr(rng.normal(size=(WIDTH, TASTES)))[0]
    places = rng.normal(size=(USERS, TASTES))
    user = np.repeat(np.arange(USERS), ANSWERS)
    delta = rng.normal(size=(len(user), WIDTH))
    margin = 2 * (delta @ axes * places[user]).sum(1)
    chosen = rng.random(len(user)) < 1 / (1 + np.exp(-margin))
    return np.where(chosen[:, None], delta, -delta), user, axes, places


def moments(seed: int = 0) -> tuple[TasteMoments, np.ndarray, np.ndarray]:
    delta, user, axes, places = planted(seed)
    found = taste_moments(
        torch.from_numpy(delta), torch.from_numpy(user), TASTES, 8, torch.Generator().manual_seed(0)
    )
    return found, axes, places


def test_directions_span_the_true_ones() -> None:
    found, axes, _ = moments()
    angles = linalg.subspace_angles(found.directions.numpy(), axes)
    assert np.degrees(angles.max()) < 15


def test_users_are_scattered_with_variance_one_and_noise_is_the_evidences() -> None:
    delta, user, _, _ = planted()
    found, _, _ = moments()
    evidence = torch.from_numpy(delta) @ found.directions - found.offset
    means = torch.zeros(USERS, TASTES, dtype=torch.float64).index_add(
        0, torch.from_numpy(user), evidence
    )
    means /= ANSWERS
    scatter = means.var(0) - found.noise / ANSWERS
    torch.testing.assert_close(scatter, torch.ones_like(scatter), rtol=0.1, atol=0)


def test_centres_are_users_of_their_own() -> None:
    found, _, _ = moments()
    distance = torch.cdist(found.centres, found.centres) + 9 * torch.eye(8)
    assert float(distance.min()) > 0.1


def test_estimated_method_places_users_where_they_are() -> None:
    delta, user, axes, places = planted()
    half = torch.from_numpy(delta).float() / 2
    features = torch.cat([half, -half])
    rows = torch.arange(len(user))
    offsets = torch.arange(0, len(user) + 1, ANSWERS)
    pairs = PairBatch(features, rows, rows + len(user), offsets)
    settings = VRFSettings(estimation="moments", dimensions=TASTES)
    fitted = fit(VRF, settings, pairs, seed=0)
    assert fitted.losses == ()
    method = fitted.method
    weights = method.weights(method.infer(pairs)).mean
    rewards = weights @ method.basis_rewards(torch.eye(WIDTH)).T
    true = torch.from_numpy(places @ axes.T).float()
    centred = rewards - rewards.mean(0)
    for u in range(0, USERS, 10):
        angle = torch.cosine_similarity(centred[u], true[u], dim=0)
        assert float(angle) > 0.8 or float(true[u].norm()) < 0.8


@pytest.mark.parametrize("users", [1, 2, 3])
def test_fewer_users_than_dimensions_still_give_a_start(users: int) -> None:
    delta, user, _, _ = planted()
    few = user < users
    found = taste_moments(
        torch.from_numpy(delta[few]), torch.from_numpy(user[few]), 8, 16, torch.Generator()
    )
    for tensor in vars(found).values():
        assert bool(torch.isfinite(tensor).all())
    assert found.directions.shape == (WIDTH, 8)
    assert found.centres.shape == (16, 8)
