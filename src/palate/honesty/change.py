"""Forgetting by evidence: what each answer counts, where the taste may have changed.

Bayesian online change-point detection (Adams & MacKay, 2007): after any answer the taste changes
with probability h (the hazard), and then starts anew from the population. Answers k, ..., t - 1
of one taste have the probability of their prequential predictions by a posterior that starts at
k. What an answer counts is the probability that the taste of now is the one that gave it: 1 for
all while they fit, falling to 0 for the older ones when a new taste explains the newer better.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from palate.honesty.prequential import predict_from
from palate.methods import Method
from palate.methods.padding import chunks
from palate.types import PairBatch

#: Probability of a change after an answer, where nothing is known.
HAZARD = 0.03
#: Newest answers among which a change is looked for; older ones belong together.
MOST = 128


@torch.no_grad()
def weights_of_answers(
    method: Method, pairs: PairBatch, *, hazard: float = HAZARD, most: int = MOST
) -> Tensor:
    """(B,) in (0, 1], for `Evidence.weight`: P(the user's taste of now is the one that answered).

    A user's answers are taken in the order of `pairs`; the newest weighs 1. Costs a posterior for
    each start and answer: n^2 / 2 of a user's n, `most` answers being looked at.
    """
    require_hazard(hazard)
    weight = torch.ones(len(pairs))
    for users in chunks(pairs.counts.clamp_max(most)):
        counts = pairs.counts[users]
        looked_at = counts.clamp_max(most)
        start = starts(log_evidence(method, pairs, users, most), looked_at, hazard)
        current = start.cumsum(-1).clamp_max(1).float()
        slot = torch.arange(int(counts.max()))
        mine = slot < counts[:, None]
        place = (slot - (counts - looked_at)[:, None]).clamp(0, current.shape[1] - 1)
        weight[(pairs.offsets[users][:, None] + slot)[mine]] = current.gather(1, place)[mine]
    return weight


@torch.no_grad()
def log_evidence(method: Method, pairs: PairBatch, users: Tensor, most: int = MOST) -> Tensor:
    """(u, n, n + 1) log P(answers k, ..., t - 1 | their taste starts at k) at [., k, t], float64.

    n is the largest number of answers looked at; of a user with more than `most` the newest are,
    and a taste that starts at 0 has seen all those before them. Zero past a user's last answer.
    """
    looked_at = pairs.counts[users].clamp_max(most)
    n = int(looked_at.max()) if len(users) else 0
    user, k, answer = torch.nonzero(_spans(looked_at, n)).unbind(1)
    begin = pairs.offsets[users + 1] - looked_at
    first = torch.where(k == 0, pairs.offsets[users][user], begin[user] + k)
    logit = predict_from(method, pairs, first, begin[user] + answer)
    log_p = torch.zeros(len(users), n, n, dtype=torch.float64)
    log_p[user, k, answer] = F.logsigmoid(logit.double())
    return F.pad(log_p.cumsum(-1), (1, 0))


def _spans(counts: Tensor, n: int) -> Tensor:
    """(u, n, n) whether a taste of start k predicts answer i: k <= i, both within the count."""
    return torch.ones(n, n).triu().bool() & (torch.arange(n) < counts[:, None])[:, None]


def starts(evidence: Tensor, counts: Tensor, hazard: float) -> Tensor:
    """(u, n) P(the taste of now started at answer k), after each user's counts (u,) answers.

    evidence: (u, n, n + 1) of `log_evidence`, of at least so many answers.
    """
    users, n, _ = evidence.shape
    k = torch.arange(n)
    change = torch.where(k == 0, 0.0, math.log(hazard))
    total = evidence.new_zeros(users, n + 1)  # log P(the first t answers), over all changes
    found = evidence.new_zeros(users, n)
    for t in range(1, n + 1):
        stayed = (t - 1 - k[:t]) * math.log1p(-hazard)
        joint = total[:, :t] + change[:t] + stayed + evidence[:, :t, t]
        total[:, t] = joint.logsumexp(1)
        found[:, :t] = torch.where((counts == t)[:, None], joint.softmax(1), found[:, :t])
    return found


def require_hazard(hazard: float) -> None:
    """Raise `ValueError` for a probability of change that is none, or sure."""
    if not 0 < hazard < 1:
        raise ValueError(f"hazard is {hazard}; expected a probability between 0 and 1")
