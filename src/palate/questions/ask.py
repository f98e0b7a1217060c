"""The next questions to a user from a pool of pairs, and whether they are still worth asking."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from palate.errors import CannotRunError
from palate.methods import Method
from palate.methods.factorised import Factorised
from palate.questions.choose import Choice, choose
from palate.questions.stopping import SETTLED, differs, turns
from palate.types import Evidence, PairBatch


@dataclass(frozen=True)
class Asked:
    """Questions, best first, and what the first of them would change.

    change: where candidates were given, the probability that the answer to the first question
    changes which of them is best; else the expected share of the pool's pairs whose predicted
    answer it would turn. None for a method without uncertainty.
    """

    choices: list[Choice]
    change: float | None

    @property
    def settled(self) -> bool | None:
        """Whether it is time to stop: the next answer would change less than 5%."""
        return None if self.change is None else self.change < SETTLED


@torch.no_grad()
def ask(
    method: Method,
    answers: Evidence,
    pool: PairBatch,
    *,
    rule: str = "information",
    count: int = 1,
    candidates: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Asked:
    """The best questions of a pool to one user; pairs as in `PairBatch`, chosen being the first.

    answers: what the user has said. candidates: hidden states (n, D) of the responses whose ranking
    is at stake. What an answer would change is worked out by the method itself, for both answers.
    Raises `CannotRunError` for a method without weights over bases, or without their uncertainty
    where the rule reads it.
    """
    if not isinstance(method, Factorised):
        raise CannotRunError(
            f"{method.name} has no weights over bases, which questions are chosen by; "
            "train a method that has, such as vrf or pref"
        )
    weights = method.weights(method.posterior(answers))
    rewards = method.basis_rewards(pool.features)
    delta = rewards[pool.chosen] - rewards[pool.rejected]
    choices = choose(weights, delta, rule, count, generator)
    if weights.covariance is None:
        return Asked(choices, None)
    then = _after(method, answers, pool, choices[0].index)
    if candidates is None:
        changed = turns(delta @ weights.mean[0], then @ delta.T)
    else:
        at_stake = method.basis_rewards(candidates)
        changed = differs(at_stake @ weights.mean[0], then @ at_stake.T, "best")
    first = choices[0].probability
    return Asked(choices, float(changed @ torch.tensor([first, 1 - first])))


def _after(method: Factorised, answers: Evidence, pool: PairBatch, pair: int) -> Tensor:
    """(2, K) mean weights after the first, or the second, response of a pair was preferred."""
    sides = pool.features[pool.chosen[pair]], pool.features[pool.rejected[pair]]
    both = PairBatch.of_pairs(torch.stack(sides), torch.stack(sides[::-1]))
    n = len(answers.rows)
    rows = torch.cat([row for said in method.evidence(both) for row in (answers.rows, said[None])])
    weight = None
    if answers.weight is not None:
        weight = torch.cat([answers.weight, torch.ones(1)]).repeat(2)
    said = Evidence(rows, torch.tensor([0, n + 1, 2 * n + 2]), weight)
    return method.weights(method.posterior(said)).mean
