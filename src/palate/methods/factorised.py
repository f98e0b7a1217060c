"""Factorised rewards r_u = w_u . R: what follows for every method of that form, once."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn

from palate.methods.base import Margins, Method
from palate.methods.layers import linear
from palate.methods.settings import MethodSettings
from palate.types import PairBatch, RewardDistribution, UserPosterior, WeightDistribution


class Factorised(Method):
    """A method whose reward is linear in basis rewards, with weights known as a distribution."""

    @abstractmethod
    def basis_rewards(self, features: Tensor) -> Tensor:
        """R: features (..., D) -> rewards (..., K)."""

    @abstractmethod
    def weights(self, posterior: UserPosterior) -> WeightDistribution:
        """Users' weights over the bases."""

    def linear_head(self) -> Tensor | None:
        """(K, D): the basis rewards of hidden states but for a constant each, where they are linear
        in them; None for bent ones.
        """
        head = getattr(self, "head", None)
        if not isinstance(head, nn.Linear):
            return None
        return head.weight.detach() * self.scale[1] * self.temperature

    @torch.no_grad()
    def reward(
        self, posterior: UserPosterior, features: Tensor, prompt: Tensor | None = None
    ) -> RewardDistribution:
        """One user's rewards of n responses (n, D), jointly Gaussian by their moments; VRF (7)."""
        del prompt
        self.require_one(posterior)
        weights = self.weights(posterior)
        rewards = self.basis_rewards(features)
        factor = None
        if weights.covariance is not None:
            factor = rewards @ _square_root(weights.covariance[0])
        return RewardDistribution(rewards @ weights.mean[0], factor)

    @torch.no_grad()
    def margins(self, posterior: UserPosterior, pairs: PairBatch) -> Margins:
        """Margins w . delta with the variance delta^T C delta of uncertain weights; VRF (7)."""
        weights = self.weights(posterior)
        rewards = self.basis_rewards(pairs.features)
        delta = rewards[pairs.chosen] - rewards[pairs.rejected]
        user = pairs.user
        mean = (weights.mean[user] * delta).sum(-1)
        if weights.covariance is None:
            return Margins(mean, None)
        covered = torch.einsum("bk,bkl->bl", delta, weights.covariance[user])
        return Margins(mean, (covered * delta).sum(-1).clamp_min(0))


class LinearBases(Factorised):
    """Basis rewards that are linear in the hidden state, one column of the head each."""

    def __init__(self, settings: MethodSettings, width: int, bases: int) -> None:
        super().__init__(settings, width)
        self.head = linear(width, bases, bias=False)

    def feature_layers(self) -> list[nn.Linear]:
        """The head."""
        return [self.head]

    def delta(self, features: Tensor, chosen: Tensor, rejected: Tensor) -> Tensor:
        """Differences of basis rewards (..., K) of rows (...) of features, before temperature."""
        difference: Tensor = self.head(self.differences(features[chosen], features[rejected]))
        return difference

    def evidence(self, pairs: PairBatch) -> Tensor:
        """Differences of basis rewards, (B, K)."""
        return self.delta(pairs.features, pairs.chosen, pairs.rejected)

    def basis_rewards(self, features: Tensor) -> Tensor:
        """R: features (..., D) -> rewards (..., K)."""
        rewards: Tensor = self.head(self.differences(features, self.centre))
        return rewards * self.temperature


def _square_root(covariance: Tensor) -> Tensor:
    """S (K, K) with S S^T = covariance, which may be singular."""
    values, vectors = torch.linalg.eigh(covariance)
    root: Tensor = vectors * values.clamp_min(0).sqrt()
    return root
