"""Rewards of rows of many users at once, as `Method.reward` gives them user by user."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from palate.methods import Method
from palate.methods.factorised import Factorised
from palate.types import UserPosterior

Rows = NDArray[np.int64]
#: Rows whose covariances are in memory at once.
CHUNK = 16_384


@dataclass(frozen=True, eq=False)
class Asked:
    """n rows to score. posterior: of U users; user: (n,) rows of it.

    features: (N, D); item: (n,) rows of it. prompts: (P, D) and prompt: (n,) likewise, or None.
    """

    posterior: UserPosterior
    user: Rows
    features: Tensor
    item: Rows
    prompts: Tensor | None = None
    prompt: Rows | None = None


@torch.no_grad()
def rewards(method: Method, asked: Asked) -> tuple[Tensor, Tensor | None]:
    """Means (n,) and standard deviations (n,), None for a method that measures none."""
    if isinstance(method, Factorised) and type(method).reward is Factorised.reward:
        return _factorised(method, asked)
    mean, sd = torch.empty(len(asked.user)), torch.empty(len(asked.user))
    measured = True
    for rows in _groups(asked):
        one = asked.posterior[torch.from_numpy(asked.user[rows[:1]])]
        prompt = None
        if asked.prompts is not None and asked.prompt is not None:
            prompt = asked.prompts[asked.prompt[rows[0]]]
        found = method.reward(one, asked.features[asked.item[rows]], prompt)
        mean[rows] = found.mean
        measured = found.sd is not None
        if found.sd is not None:
            sd[rows] = found.sd
    return mean, sd if measured else None


def _factorised(method: Factorised, asked: Asked) -> tuple[Tensor, Tensor | None]:
    """w_u . R, with the variance R^T C_u R of uncertain weights; VRF (7)."""
    weights, basis = method.weights(asked.posterior), method.basis_rewards(asked.features)
    user, item = torch.from_numpy(asked.user), torch.from_numpy(asked.item)
    means, spreads = [], []
    for rows in torch.split(torch.arange(len(user)), CHUNK):
        own = basis[item[rows]]
        means.append((weights.mean[user[rows]] * own).sum(-1))
        if weights.covariance is not None:
            form = torch.einsum("nk,nkl,nl->n", own, weights.covariance[user[rows]], own)
            spreads.append(form.clamp_min(0).sqrt())
    return torch.cat(means), torch.cat(spreads) if spreads else None


def _groups(asked: Asked) -> Iterator[Rows]:
    """Rows of one user, and of one prompt where prompts are read by themselves."""
    prompt = np.zeros_like(asked.user) if asked.prompt is None else asked.prompt
    order = np.lexsort((prompt, asked.user))
    table = np.stack([asked.user, prompt])[:, order]
    yield from np.split(order, np.flatnonzero((np.diff(table) != 0).any(0)) + 1)
