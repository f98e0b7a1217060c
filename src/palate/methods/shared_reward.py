"""One reward for everybody: what follows for a method that does not tell users apart."""

from __future__ import annotations

import torch
from torch import Tensor

from palate.methods.factorised import Factorised
from palate.types import Evidence, PairBatch, UserPosterior, WeightDistribution


class SharedReward(Factorised):
    """K = 1 and no user: a weight of one that no answer moves.

    It is known without uncertainty because the method has none: `gives_uncertainty` is False and
    no variance is reported.
    """

    personal = False
    gives_uncertainty = False

    def evidence(self, pairs: PairBatch) -> Tensor:
        """Nothing: (B, 0)."""
        return pairs.features.new_zeros(len(pairs), 0)

    def posterior(self, evidence: Evidence) -> UserPosterior:
        """The same for everybody; the answers are counted."""
        return UserPosterior(torch.ones(evidence.users, 1), None, evidence.counts)

    def weights(self, posterior: UserPosterior) -> WeightDistribution:
        """One, for everybody."""
        return WeightDistribution(posterior.mean, None)
