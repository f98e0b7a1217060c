"""A policy's own samples as what values are learned from: hidden states, tokens, basis rewards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from palate.alignment.local import LocalPolicy, Written
from palate.alignment.policy import Request
from palate.errors import CannotRunError, PolicyError
from palate.methods.factorised import Factorised
from palate.model import PersonalRewardModel
from palate.progress import Progress


@dataclass(frozen=True, eq=False)
class Episodes:
    """n finished answers of T tokens in all.

    hidden: (T, D) state before each token. token: (T,). offsets: (n + 1,) answer i owns tokens
    offsets[i]:offsets[i + 1]. rewards: (n, K) basis rewards of the finished answers.
    """

    hidden: Tensor
    token: Tensor
    offsets: Tensor
    rewards: Tensor

    def __len__(self) -> int:
        return len(self.rewards)

    @property
    def answer(self) -> Tensor:
        """(T,) the answer of each token."""
        return torch.repeat_interleave(torch.arange(len(self)), self.offsets.diff())


def draw_episodes(
    model: PersonalRewardModel,
    policy: LocalPolicy,
    requests: Sequence[Request],
    progress: Progress | None = None,
) -> Episodes:
    """Sample the requests, and score what was finished by the model's basis rewards.

    Answers that max_tokens cut off have no reward of their own and are left out. Raises
    `CannotRunError` for a method without basis rewards, `PolicyError` where nothing is finished.
    """
    method = model.method
    if not isinstance(method, Factorised):
        raise CannotRunError(f"{method.name} has no basis rewards, so there are no values of them")
    written = policy.write(requests, progress=progress)
    rows, texts = [], []
    for request, one in zip(requests, written, strict=True):
        for answer in one.answers:
            if answer and answer[-1] in policy.ends:
                rows.append(Written(one.prompt, [answer]))
                texts.append((request.prompt, policy.text(answer)))
    if not rows:
        raise PolicyError(f"{policy.name!r} finished no answer: raise max_tokens")
    features = model.reader.encode(texts, progress)
    with torch.no_grad():
        rewards = method.basis_rewards(features)
    lengths = torch.tensor([0] + [len(row.answers[0]) for row in rows])
    return Episodes(
        hidden=torch.cat(_states(policy, rows)),
        token=torch.tensor([token for row in rows for token in row.answers[0]]),
        offsets=lengths.cumsum(0),
        rewards=rewards,
    )


@torch.inference_mode()
def _states(policy: LocalPolicy, rows: list[Written]) -> list[Tensor]:
    """The hidden states (T_i, D) before each token of each row's answer."""
    found: list[Tensor] = [torch.empty(0)] * len(rows)
    order = sorted(range(len(rows)), key=lambda i: len(rows[i].prompt) + len(rows[i].answers[0]))
    for start in range(0, len(order), policy.batch):
        places = order[start : start + policy.batch]
        # causal: what stands behind a token changes nothing, so rows are padded there
        read = [rows[i].prompt + rows[i].answers[0][:-1] for i in places]
        ids = torch.full((len(read), max(map(len, read))), policy.pad)
        for row, tokens in enumerate(read):
            ids[row, : len(tokens)] = torch.tensor(tokens)
        hidden = policy.model.base_model(input_ids=ids.to(policy.model.device)).last_hidden_state
        for row, i in enumerate(places):
            first = len(rows[i].prompt) - 1
            found[i] = hidden[row, first : first + len(rows[i].answers[0])].half().cpu()
    return found
