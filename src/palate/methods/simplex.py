"""Weights on the simplex by maximum likelihood, for all users at once."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from palate.types import Evidence

#: Weights (U, K) -> margins (B,) of their answers and the derivatives (B, K) by the weights.
MarginOf = Callable[[Evidence, Tensor], tuple[Tensor, Tensor]]

ROUNDS = 20
#: Longest step of a logit: beyond it lie vertices, from which no slope leads back.
REACH = 2.0
#: Nats an answer: a user whose step gains less stays there.
TOLERANCE = 3e-4
#: Damping of the first round, its least, and by what it changes after a step.
DAMPING = 0.1
LEAST_DAMPING = 1e-3
SHRINK = 0.2
GROWTH = 5.0


def likeliest_weights(evidence: Evidence, start: Tensor, margin_of: MarginOf) -> Tensor:
    """argmax over w in the simplex of sum_i c_i log sigmoid(margin_i(w)), c_i its weight: (U, K).

    Gauss-Newton steps in the logits, damped user by user (Levenberg and Marquardt): a step that
    loses likelihood is not taken. There is no regulariser, so logits may grow for ever; ROUNDS
    bounds them. start: (K,) weights of a user without answers.
    """
    found = start.expand(evidence.users, -1).clone()
    moving = torch.nonzero(evidence.totals)[:, 0]
    part = evidence.of(moving)
    logits, weight = start.log().expand(part.users, -1), found[moving]
    damping = logits.new_full((part.users,), DAMPING)
    margin, slope = margin_of(part, weight)
    value = _loss(margin, part)
    done = torch.zeros_like(moving, dtype=torch.bool)
    for _ in range(ROUNDS):
        step = _newton_step(part, weight, margin, slope, damping)
        length = step.abs().amax(-1, keepdim=True)
        tried = logits - step * (REACH / length.clamp_min(REACH))
        tried_weight = tried.softmax(-1)
        tried_margin, tried_slope = margin_of(part, tried_weight)
        tried_value = _loss(tried_margin, part)
        better = (tried_value <= value) & ~done
        done |= better & (value - tried_value < TOLERANCE * part.totals)
        damping = torch.where(better, damping * SHRINK, damping * GROWTH).clamp_min(LEAST_DAMPING)
        logits = torch.where(better[:, None], tried, logits)
        weight = torch.where(better[:, None], tried_weight, weight)
        kept = better[part.user]
        margin = torch.where(kept, tried_margin, margin)
        slope = torch.where(kept[:, None], tried_slope, slope)
        value = torch.where(better, tried_value, value)
        found[moving] = weight
        if bool(done.all()):
            break
        if 2 * int(done.sum()) >= len(done):  # fewer copies than one for every user
            going, rows = ~done, ~done[part.user]
            moving, part = moving[going], part.of(torch.nonzero(going)[:, 0])
            logits, weight, damping, value = (
                kept[going] for kept in (logits, weight, damping, value)
            )
            margin, slope, done = margin[rows], slope[rows], done[going]
    return found


def _newton_step(
    evidence: Evidence, weight: Tensor, margin: Tensor, slope: Tensor, damping: Tensor
) -> Tensor:
    """(U, K) solution of the damped Gauss-Newton equations in the logits."""
    user = evidence.user
    within = weight[user] * slope
    by_logit = within - weight[user] * within.sum(-1, keepdim=True)
    wrong = torch.sigmoid(-margin)
    gradient = evidence.sum_by_user(-wrong[:, None] * by_logit)
    curved = (wrong * (1 - wrong))[:, None, None] * by_logit[:, :, None] * by_logit[:, None, :]
    hessian = evidence.sum_by_user(curved)
    # Logits are free up to a constant: a share of the answers' number keeps the solve regular.
    ridge = (damping * evidence.totals)[:, None, None] * torch.eye(weight.shape[1])
    step: Tensor = torch.linalg.solve(hessian + ridge, gradient)
    return step


def _loss(margin: Tensor, evidence: Evidence) -> Tensor:
    """(U,) -sum log sigmoid(margin) of each user's answers."""
    return evidence.sum_by_user(-F.logsigmoid(margin))
