"""Weights on the simplex by maximum likelihood, for all users at once."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from palate.types import Evidence

#: Weights (U, K) -> margins (B,) of the answers and their derivatives (B, K) by the weights.
MarginOf = Callable[[Tensor], tuple[Tensor, Tensor]]

ROUNDS = 20
#: Longest step of a logit: beyond it lie vertices, from which no slope leads back.
REACH = 1.0
#: Nats an answer: a user whose step gains less stays there.
TOLERANCE = 1e-4
#: Damping of the first round, its least, and by what it changes after a step.
DAMPING = 0.1
LEAST_DAMPING = 1e-3
SHRINK = 0.2
GROWTH = 5.0


def likeliest_weights(evidence: Evidence, start: Tensor, margin_of: MarginOf) -> Tensor:
    """argmax over w in the simplex of sum_i log sigmoid(margin_i(w)): (U, K).

    Gauss-Newton steps in the logits, damped user by user (Levenberg and Marquardt): a step that
    loses likelihood is not taken. There is no regulariser, so logits may grow for ever; ROUNDS
    bounds them. start: (K,) weights of a user without answers.
    """
    user, users = evidence.user, evidence.users
    logits = start.log().expand(users, -1).clone()
    damping = logits.new_full((users,), DAMPING)
    count = evidence.counts.clamp_min(1)
    eye = torch.eye(logits.shape[1], dtype=logits.dtype)
    weight = logits.softmax(-1)
    margin, slope = margin_of(weight)
    value = _loss(margin, user, users)
    done = evidence.counts == 0
    for _ in range(ROUNDS):
        within = weight[user] * slope
        by_logit = within - weight[user] * within.sum(-1, keepdim=True)
        wrong = torch.sigmoid(-margin)
        gradient = logits.new_zeros(logits.shape).index_add(0, user, -wrong[:, None] * by_logit)
        curved = (wrong * (1 - wrong))[:, None, None] * by_logit[:, :, None] * by_logit[:, None, :]
        hessian = logits.new_zeros(users, *eye.shape).index_add(0, user, curved)
        # Logits are free up to a constant: a share of the answers' number keeps the solve regular.
        ridge = (damping * count)[:, None, None] * eye
        step = torch.linalg.solve(hessian + ridge, gradient)
        length = step.abs().amax(-1, keepdim=True)
        tried = logits - step * (REACH / length.clamp_min(REACH))
        tried_weight = tried.softmax(-1)
        tried_margin, tried_slope = margin_of(tried_weight)
        found = _loss(tried_margin, user, users)
        better = (found <= value) & ~done
        damping = torch.where(better, damping * SHRINK, damping * GROWTH).clamp_min(LEAST_DAMPING)
        logits = torch.where(better[:, None], tried, logits)
        weight = torch.where(better[:, None], tried_weight, weight)
        kept = better[user]
        margin = torch.where(kept, tried_margin, margin)
        slope = torch.where(kept[:, None], tried_slope, slope)
        done |= better & (value - found < TOLERANCE * count)
        value = torch.where(better, found, value)
        if bool(done.all()):
            break
    return weight


def _loss(margin: Tensor, user: Tensor, users: int) -> Tensor:
    """(U,) -sum log sigmoid(margin) of each user's answers."""
    return margin.new_zeros(users).index_add(0, user, -F.logsigmoid(margin))
