"""Ref: the order of the likelihoods, for everybody, and nothing else."""

from __future__ import annotations

import pytest
import torch

from palate.errors import CannotRunError
from palate.methods.ref import Ref, RefSettings
from palate.training import fit
from palate.types import PairBatch
from tests.unit.methods.worlds import random_pairs


def test_the_reward_is_the_likelihoods_order() -> None:
    pairs = random_pairs([20, 5], 1)
    method = fit(Ref, RefSettings(), pairs, seed=0).method
    posterior = method.infer(pairs)
    rewards = method.reward(posterior[:1], pairs.features)
    assert torch.equal(rewards.mean.argsort(), pairs.features[:, 0].argsort())
    assert rewards.factor is None
    better = pairs.features[pairs.chosen, 0] > pairs.features[pairs.rejected, 0]
    assert torch.equal(method.margins(posterior, pairs).mean > 0, better)


def test_rewards_are_in_units_of_the_usual_difference() -> None:
    """Log-probabilities a token are differences of hundredths: they are brought to size one."""
    pairs = random_pairs([50], 1)
    pairs = PairBatch(0.01 * pairs.features - 3, pairs.chosen, pairs.rejected, pairs.offsets)
    method = fit(Ref, RefSettings(), pairs, seed=0).method
    margins = method.margins(method.infer(pairs), pairs).mean
    assert float(margins.square().mean()) == pytest.approx(1.0, rel=1e-3)
    assert float(method.reward(method.infer(pairs), pairs.features).mean.mean()) == pytest.approx(
        0.0, abs=0.5
    )


def test_no_answer_moves_it() -> None:
    method = Ref(RefSettings(), 1)
    pairs = random_pairs([0, 9], 1)
    posterior = method.infer(pairs)
    assert posterior.mean.tolist() == [[1.0], [1.0]]
    assert posterior.answers.tolist() == [0, 9]
    assert posterior.variance is None
    assert method.evidence(pairs).shape == (9, 0)


@pytest.mark.parametrize("width", [0, 2, 384])
def test_hidden_states_are_refused_with_what_to_do(width: int) -> None:
    with pytest.raises(CannotRunError, match=f"width {width}: name a causal language model"):
        Ref(RefSettings(), width)
