"""The nouns that flow between the rooms: frozen, validated at birth, shapes in the docstring."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True, order=True)
class Message:
    """One turn of a conversation, as in chat templates."""

    role: str
    content: str


#: A prompt or a response: plain text, or the turns of a conversation.
Text = str | tuple[Message, ...]


def canonical(text: Text) -> str:
    """One string that identifies a text: itself, or its turns as JSON behind a mark no text has."""
    if isinstance(text, str):
        return text
    return "\x00" + json.dumps([[m.role, m.content] for m in text], ensure_ascii=False)


@dataclass(frozen=True)
class Comparison:
    """One answer: for `prompt`, `chosen` was preferred to `rejected`."""

    prompt: Text
    chosen: Text
    rejected: Text

    def __post_init__(self) -> None:
        if canonical(self.chosen) == canonical(self.rejected):
            raise ValueError("chosen and rejected are the same text: this says nothing of a taste")


@dataclass(frozen=True, eq=False)
class PairBatch:
    """Comparisons of U users over one table of features, grouped by user.

    features: (N, D) hidden states, one row a distinct (prompt, response).
    chosen, rejected: (B,) rows of `features`, user after user.
    offsets: (U + 1,) user u owns comparisons offsets[u]:offsets[u + 1]; a user may own none.
    weight: (B,) positive importance of a comparison in training, or None for all ones.
    prompt: (B,) rows of `features` that hold the prompts by themselves, or None.
    """

    features: Tensor
    chosen: Tensor
    rejected: Tensor
    offsets: Tensor
    weight: Tensor | None = None
    prompt: Tensor | None = None

    def __post_init__(self) -> None:
        size = len(self.chosen)
        if self.features.ndim != 2:
            raise ValueError(f"features must be (N, D), not {tuple(self.features.shape)}")
        if self.rejected.shape != (size,) or self.chosen.shape != (size,):
            raise ValueError("chosen and rejected must both be (B,)")
        if len(self.offsets) < 1 or int(self.offsets[0]) != 0 or int(self.offsets[-1]) != size:
            raise ValueError("offsets must run from 0 to B")
        if bool((self.offsets.diff() < 0).any()):
            raise ValueError("offsets must not decrease")
        for name in ("weight", "prompt"):
            column = getattr(self, name)
            if column is not None and column.shape != (size,):
                raise ValueError(f"{name} must be (B,)")

    def __len__(self) -> int:
        return len(self.chosen)

    @property
    def users(self) -> int:
        """U, the number of users."""
        return len(self.offsets) - 1

    @property
    def counts(self) -> Tensor:
        """(U,) comparisons of each user."""
        return self.offsets.diff()

    @property
    def user(self) -> Tensor:
        """(B,) the user of each comparison."""
        return torch.repeat_interleave(torch.arange(self.users), self.counts)

    @classmethod
    def of_pairs(cls, chosen: Tensor, rejected: Tensor, prompt: Tensor | None = None) -> PairBatch:
        """One user's comparisons from tables of hidden states, each (n, D)."""
        tables = [chosen, rejected] if prompt is None else [chosen, rejected, prompt]
        if chosen.ndim != 2 or any(table.shape != chosen.shape for table in tables):
            shapes = ", ".join(str(tuple(table.shape)) for table in tables)
            raise ValueError(f"hidden states are {shapes}: not all (n, D)")
        n = len(chosen)
        return cls(
            features=torch.cat(tables).float(),
            chosen=torch.arange(n),
            rejected=torch.arange(n, 2 * n),
            offsets=torch.tensor([0, n]),
            prompt=None if prompt is None else torch.arange(2 * n, 3 * n),
        )


def rows_of_spans(first: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Rows first, first + 1, ... of S spans (S,), span after span, and the offsets (S + 1,)."""
    offsets = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    start = (first - offsets[:-1]).repeat_interleave(counts)
    return start + torch.arange(len(start)), offsets


@dataclass(frozen=True, eq=False)
class Evidence:
    """What answers say of U users, a row an answer, in the space of the method that read them.

    It is all that a method needs to know of an answer: a posterior is a function of the rows, so
    that an answer is added by adding its row.

    rows: (B, E). offsets: (U + 1,) user u owns rows offsets[u]:offsets[u + 1].
    weight: (B,) in [0, 1], what an answer counts in its user's posterior, or None for all ones. An
    answer of weight 0 is as one never given, two of weight 1/2 are as one of weight 1.
    """

    rows: Tensor
    offsets: Tensor
    weight: Tensor | None = None

    def __post_init__(self) -> None:
        if self.weight is None:
            return
        if self.weight.shape != self.rows.shape[:1]:
            raise ValueError(f"weight must be ({len(self.rows)},), not {tuple(self.weight.shape)}")
        if not bool(((self.weight >= 0) & (self.weight <= 1)).all()):
            raise ValueError("an answer's weight is in [0, 1]")

    @property
    def users(self) -> int:
        """U, the number of users."""
        return len(self.offsets) - 1

    @cached_property
    def counts(self) -> Tensor:
        """(U,) answers of each user, whatever they weigh."""
        return self.offsets.diff()

    @cached_property
    def totals(self) -> Tensor:
        """(U,) what the answers of each user weigh together."""
        if self.weight is None:
            return self.counts
        return self.sum_by_user(torch.ones_like(self.weight))

    @cached_property
    def user(self) -> Tensor:
        """(B,) the user of each answer."""
        return torch.repeat_interleave(torch.arange(self.users), self.counts)

    def of(self, users: Tensor) -> Evidence:
        """The answers of some users (u,), in that order."""
        own, offsets = rows_of_spans(self.offsets[users], self.counts[users])
        weight = None if self.weight is None else self.weight[own]
        return Evidence(self.rows[own], offsets, weight)

    def weigh(self, values: Tensor) -> Tensor:
        """Values of the answers (B, ...), each times what its answer counts."""
        if self.weight is None:
            return values
        return values * self.weight.to(values.dtype).view(-1, *[1] * (values.ndim - 1))

    def sum_by_user(self, values: Tensor) -> Tensor:
        """(U, ...) values of the answers (B, ...) summed over each user's, by their weights."""
        nothing = values.new_zeros(self.users, *values.shape[1:])
        return nothing.index_add(0, self.user, self.weigh(values))

    def sums(self) -> Tensor:
        """(U, E) the rows summed over each user's answers, by their weights."""
        return self.sum_by_user(self.rows)


@dataclass(frozen=True, eq=False)
class UserPosterior:
    """What is known of U users' tastes, in the space of the method that inferred it.

    mean: (U, d).
    variance: (U, d), or None for a method that gives no uncertainty.
    answers: (U,) number of comparisons behind it.
    covariance: (U, d, d) where dimensions depend on each other; variance is then its diagonal.
    """

    mean: Tensor
    variance: Tensor | None
    answers: Tensor
    covariance: Tensor | None = None

    def __post_init__(self) -> None:
        if self.mean.ndim != 2 or self.answers.shape != self.mean.shape[:1]:
            raise ValueError("a posterior holds mean (U, d) and answers (U,)")
        if self.variance is not None and self.variance.shape != self.mean.shape:
            raise ValueError("a posterior's variance is (U, d), like its mean")

    def __len__(self) -> int:
        return len(self.mean)

    def __getitem__(self, rows: Tensor | slice) -> UserPosterior:
        """The posteriors of some users, in the order of `rows`."""
        variance = None if self.variance is None else self.variance[rows]
        covariance = None if self.covariance is None else self.covariance[rows]
        return UserPosterior(self.mean[rows], variance, self.answers[rows], covariance)

    @property
    def uncertainty(self) -> Tensor | None:
        """(U,) mean over dimensions of the standard deviation, or None if not measured."""
        return None if self.variance is None else self.variance.sqrt().mean(-1)


@dataclass(frozen=True, eq=False)
class WeightDistribution:
    """Users' weights over the K bases.

    mean: (U, K).
    covariance: (U, K, K), or None for a method that gives no uncertainty.
    """

    mean: Tensor
    covariance: Tensor | None


@dataclass(frozen=True, eq=False)
class RewardDistribution:
    """One user's rewards for n candidates, joint because all share one uncertain user.

    mean: (n,).
    factor: (n, K) with covariance factor @ factor.T, or None for a method without uncertainty.
    """

    mean: Tensor
    factor: Tensor | None

    @property
    def sd(self) -> Tensor | None:
        """(n,) standard deviations, or None if not measured."""
        return None if self.factor is None else self.factor.square().sum(-1).sqrt()


@dataclass(frozen=True)
class RankedCandidate:
    """A candidate in order of preference.

    index: place in the list that was given. reward: posterior mean. sd: its standard deviation,
    None if the method gives none. p_best: probability that the user picks it from the list.
    """

    index: int
    reward: float
    sd: float | None
    p_best: float
    text: Text | None = None


@dataclass(frozen=True)
class Ranking:
    """Candidates for one prompt, best first."""

    candidates: tuple[RankedCandidate, ...]

    @property
    def best(self) -> RankedCandidate:
        """The candidate with the highest expected reward."""
        return self.candidates[0]

    @property
    def order(self) -> list[int]:
        """Indices of the candidates as given, best first."""
        return [candidate.index for candidate in self.candidates]


def as_text(value: str | Sequence[Message | dict[str, str]]) -> Text:
    """A text from what callers hold: a string, or turns as `Message` or {"role", "content"}."""
    if isinstance(value, str):
        return value
    return tuple(m if isinstance(m, Message) else Message(m["role"], m["content"]) for m in value)
