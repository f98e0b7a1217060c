"""One user's posterior while the answers come in: each in microseconds, none of them twice."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from palate.methods import Method
from palate.types import Evidence, UserPosterior


class LivingPosterior:
    """A user's rows of evidence with their weights, and the posterior that follows from them.

    The posterior is that of `method.posterior` on the same evidence, by the method's own way of
    keeping one up to date. `UserProfile` is for answers that have keys and times; this is for a
    session in which the next question waits for the last answer.
    """

    def __init__(self, method: Method, evidence: Evidence) -> None:
        """With the answers that there are; evidence without rows (0, E) for a new user."""
        if evidence.users != 1:
            raise ValueError(f"a living posterior is of one user, not of {evidence.users}")
        self._updater = method.updater()
        self._updater.forget()
        self._posterior: UserPosterior | None = None
        self._count = len(evidence.rows)
        self._rows = evidence.rows.double().numpy()
        weight = evidence.weight
        self._weight = np.ones(self._count) if weight is None else weight.double().numpy()
        self._grow()

    def __len__(self) -> int:
        return self._count

    @property
    def evidence(self) -> Evidence:
        """The rows and what they count."""
        rows, weight = (table[: self._count] for table in (self._rows, self._weight))
        return Evidence(
            torch.from_numpy(rows.astype(np.float32)),
            torch.tensor([0, self._count]),
            torch.from_numpy(weight.astype(np.float32)),
        )

    @property
    def posterior(self) -> UserPosterior:
        """The user's posterior, of one user."""
        if self._posterior is None:
            rows, weight = self._rows[: self._count], self._weight[: self._count]
            self._posterior = self._updater.posterior(rows, weight)
        return self._posterior

    def add(self, row: Tensor, weight: float = 1.0) -> None:
        """One more answer: its row of evidence (E,) and what it counts, in [0, 1]."""
        if not 0 <= weight <= 1:
            raise ValueError(f"an answer's weight is in [0, 1], not {weight}")
        if self._count == len(self._rows):
            self._grow()
        self._rows[self._count] = row.numpy()
        self._weight[self._count] = weight
        self._updater.add(self._rows[self._count], weight)
        self._count += 1
        self._posterior = None

    def withdraw(self, index: int) -> None:
        """Without an answer, by its place; those behind it move up."""
        if not 0 <= index < self._count:
            raise IndexError(f"there is no answer {index} of {self._count}")
        for table in (self._rows, self._weight):
            table[index : self._count - 1] = table[index + 1 : self._count]
        self._count -= 1
        self._updater.forget()
        self._posterior = None

    def age(self, factor: float) -> None:
        """Let all answers so far count less, by a factor in [0, 1]: 1/2 after a half-life."""
        if not 0 <= factor <= 1:
            raise ValueError(f"answers age by a factor in [0, 1], not {factor}")
        self._weight[: self._count] *= factor
        self._updater.age(factor)
        self._posterior = None

    def _grow(self) -> None:
        """Twice the room."""
        room = max(self._count, 16)
        self._rows = np.concatenate([self._rows, np.empty((room, self._rows.shape[1]))])
        self._weight = np.concatenate([self._weight, np.empty(room)])
