"""Learns values from a policy's own samples: Monte Carlo, or TD(lambda)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from palate.alignment.episodes import Episodes
from palate.alignment.values import HeadsShape, ValueHeads
from palate.errors import SettingsError
from palate.progress import Progress, Silent

#: Share of the answers that is kept from training, to say how well values predict.
HELD_OUT = 0.1
#: Tokens that are gone through at once where nothing is learned.
CHUNK = 65536


@dataclass(frozen=True)
class ValueSettings:
    """How values are learned.

    trace   lambda of TD(lambda); 1 is Monte Carlo, below it values of later prefixes stand in
            for the finished answer's rewards
    epochs  passes over the tokens     batch   tokens of a step
    rate    of AdamW, along a cosine   decay   weight decay
    hidden, rank  sizes of the heads   seed    of weights and order
    """

    trace: float = 0.95
    epochs: int = 8
    batch: int = 2048
    rate: float = 2e-3
    decay: float = 0.01
    hidden: int = 128
    rank: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.trace <= 1:
            raise SettingsError(f"setting trace is {self.trace}; expected 0 to 1")
        if min(self.epochs, self.batch, self.hidden, self.rank) < 1:
            raise SettingsError("settings epochs, batch, hidden and rank must be 1 or more")


@dataclass(frozen=True, eq=False)
class LearnedValues:
    """Heads, and how much of the held-out answers' rewards they explain."""

    heads: ValueHeads
    report: dict[str, Any]


def learn_values(
    episodes: Episodes,
    embedding: Tensor,
    settings: ValueSettings | None = None,
    progress: Progress | None = None,
) -> LearnedValues:
    """Heads fitted to episodes; embedding (V, D) are the policy's own, of all tokens.

    V_k(s_t) and Q_k(s_t, a_t) regress on the lambda-return

        G_t = R_k at the last token, else (1 - lambda) V_k(s_{t+1}) + lambda G_{t+1},

    with V of the epoch before (Sutton and Barto 2018, chapter 12); the advantage learns what V
    leaves, so that its mean over the policy's tokens is zero.
    """
    chosen = settings or ValueSettings()
    heads = _start(episodes, chosen)
    train, held = _divide(episodes, chosen.seed)
    targets = (episodes.rewards - heads.centre) / heads.scale
    optimiser = torch.optim.AdamW(heads.parameters(), lr=chosen.rate, weight_decay=chosen.decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, chosen.epochs)
    generator = torch.Generator().manual_seed(chosen.seed)
    with (progress or Silent()).track("learning values", chosen.epochs) as advance:
        for epoch in range(chosen.epochs):
            trace = chosen.trace if epoch else 1.0  # values that know nothing stand in for none
            returns = lambda_returns(episodes, targets, _all_values(heads, episodes), trace)
            order = train[torch.randperm(len(train), generator=generator)]
            for rows in torch.split(order, chosen.batch):
                _step(heads, episodes, returns, embedding, rows, optimiser)
            schedule.step()
            advance(1)
    heads.eval().requires_grad_(False)
    report = {"answers": len(episodes), "tokens": len(episodes.token)}
    return LearnedValues(heads, report | _explained(heads, episodes, embedding, targets, held))


def lambda_returns(episodes: Episodes, rewards: Tensor, values: Tensor, trace: float) -> Tensor:
    """(T, K) returns G_t, from the answers' rewards (n, K) and values V(s_t) (T, K)."""
    returns = rewards[episodes.answer]
    if trace == 1:
        return returns
    last = episodes.offsets[1:] - 1
    lengths = episodes.offsets.diff()
    current = rewards.clone()
    for back in range(1, int(lengths.max())):
        own = lengths > back
        place = last[own] - back
        current[own] = (1 - trace) * values[place + 1] + trace * current[own]
        returns[place] = current[own]
    return returns


def _start(episodes: Episodes, settings: ValueSettings) -> ValueHeads:
    shape = HeadsShape(
        episodes.hidden.shape[1], episodes.rewards.shape[1], settings.hidden, settings.rank
    )
    with torch.random.fork_rng(devices=[]):  # layers draw their weights from the global stream
        torch.manual_seed(settings.seed)
        heads = ValueHeads(shape)
    rewards = episodes.rewards
    heads.centre.copy_(rewards.mean(0))
    heads.scale.copy_(rewards.std(0).clamp_min(1e-6))
    heads.reach.copy_(2 * torch.cov(rewards.T).reshape(shape.bases, shape.bases))
    nn.init.zeros_(heads.state.weight)
    nn.init.zeros_(heads.state.bias)
    return heads


def _divide(episodes: Episodes, seed: int) -> tuple[Tensor, Tensor]:
    """Tokens of answers to learn from, and of answers held out."""
    generator = torch.Generator().manual_seed(seed)
    held = torch.rand(len(episodes), generator=generator) < HELD_OUT
    of_token = held[episodes.answer]
    return torch.nonzero(~of_token)[:, 0], torch.nonzero(of_token)[:, 0]


def _step(
    heads: ValueHeads,
    episodes: Episodes,
    returns: Tensor,
    embedding: Tensor,
    rows: Tensor,
    optimiser: torch.optim.Optimizer,
) -> None:
    value, advantage = _read(heads, episodes, embedding, rows)
    wanted = returns[rows]
    loss = (value - wanted).square().mean()
    loss = loss + (advantage - (wanted - value.detach())).square().mean()
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()


def _read(
    heads: ValueHeads, episodes: Episodes, embedding: Tensor, rows: Tensor
) -> tuple[Tensor, Tensor]:
    """V_k(s_t) and A_k(s_t, a_t) of some tokens, (rows, K) each, standardised."""
    units = heads.units(episodes.hidden[rows])
    keys = heads.keys(embedding[episodes.token[rows]])
    return heads.state(units), torch.einsum("nkr,nr->nk", heads.queries(units), keys)


@torch.no_grad()
def _all_values(heads: ValueHeads, episodes: Episodes) -> Tensor:
    chunks = torch.split(episodes.hidden, CHUNK)
    return torch.cat([heads.state(heads.units(chunk)) for chunk in chunks])


@torch.no_grad()
def _explained(
    heads: ValueHeads, episodes: Episodes, embedding: Tensor, targets: Tensor, held: Tensor
) -> dict[str, float]:
    """Shares of the held-out rewards' variance that V and Q explain, mean over tokens and bases."""
    if not len(held):
        return {}
    reads = [_read(heads, episodes, embedding, rows) for rows in torch.split(held, CHUNK)]
    value, advantage = (torch.cat(part) for part in zip(*reads, strict=True))
    wanted = targets[episodes.answer[held]]
    total = (wanted - wanted.mean(0)).square().mean()
    return {
        "explained_by_state": float(1 - (value - wanted).square().mean() / total),
        "explained_by_action": float(1 - (value + advantage - wanted).square().mean() / total),
    }
