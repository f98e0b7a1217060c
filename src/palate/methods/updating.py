"""What a method does with one user's answers as they come and go: nothing, sums, or Newton."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from palate.methods.newton import ModeOfOne, forecast, mode_of_one
from palate.types import Evidence, UserPosterior

Array = NDArray[np.float64]


class Updater(ABC):
    """One user's posterior, kept up to date: told of every change, asked when it is needed.

    It may keep what makes the next posterior cheap, and gives what `Method.posterior` would.
    """

    def add(self, row: Array, weight: float) -> None:
        """An answer came, its evidence (E,) and what it counts."""
        del row, weight

    def forget(self) -> None:
        """Answers went, or all of them are new: what was kept of them no longer holds."""
        return

    def age(self, factor: float) -> None:
        """All weights were multiplied."""
        del factor

    @abstractmethod
    def posterior(self, rows: Array, weight: Array) -> UserPosterior:
        """The posterior of rows (n, E) that count (n,)."""


class Refit(Updater):
    """From scratch: right for every method."""

    def __init__(self, posterior: Callable[[Evidence], UserPosterior]) -> None:
        self._posterior = posterior

    def posterior(self, rows: Array, weight: Array) -> UserPosterior:
        """That of the method."""
        tables = (torch.from_numpy(table.astype(np.float32)) for table in (rows, weight))
        evidence, counts = tables
        return self._posterior(Evidence(evidence, torch.tensor([0, len(rows)]), counts))


class Sums(Updater):
    """For a posterior that is a function of the rows' sum (1, E), and of its weight (1,)."""

    def __init__(
        self, columns: int, posterior: Callable[[Tensor, Tensor, Tensor], UserPosterior]
    ) -> None:
        self._sum = np.zeros(columns)
        self._total = 0.0
        self._whole = True
        self._posterior = posterior

    def add(self, row: Array, weight: float) -> None:
        """One row more in the sum."""
        self._sum += weight * row
        self._total += weight

    def forget(self) -> None:
        """Sum again: to subtract would leave rounding where what stays counts far less."""
        self._whole = False

    def age(self, factor: float) -> None:
        """The sum is linear."""
        self._sum *= factor
        self._total *= factor

    def posterior(self, rows: Array, weight: Array) -> UserPosterior:
        """From the sums alone."""
        if not self._whole:
            self._sum, self._total, self._whole = weight @ rows, float(weight.sum()), True
        total = _one(np.array(self._total))
        return self._posterior(_one(self._sum), total, _counted(rows))


class Laplace(Updater):
    """For the mode of a logistic posterior with the prior N(m, P^-1): Newton from the last mode.

    mean: m (d,); or a function that gives m (d,) by the sum (read,) of the rows' first `read`
    columns, where the answers say what to expect too. The columns behind those are the differences.
    precision: P (d, d).

    What is kept is but a place to start, so that no change of the answers makes it wrong.
    """

    def __init__(
        self, mean: Tensor | Callable[[Array], Array], precision: Tensor, read: int = 0
    ) -> None:
        self._mean: Array | Callable[[Array], Array]
        self._mean = mean.detach().double().numpy() if isinstance(mean, Tensor) else mean
        self._precision = precision.detach().double().numpy()
        self._read = read
        self._last: tuple[ModeOfOne, Array] | None = None

    def posterior(self, rows: Array, weight: Array) -> UserPosterior:
        """The mode with the inverse of the Hessian there."""
        mean = self._prior_mean(rows, weight)
        delta = rows[:, self._read :]
        start = self._start(delta, weight, mean)
        mode = mode_of_one(delta, weight, mean, self._precision, start)
        self._last = mode, mean
        covariance = mode.covariance.astype(np.float32)[None]
        variance = covariance.reshape(1, -1)[:, :: len(mean) + 1]  # its diagonal
        return UserPosterior(
            _one(mode.at), torch.from_numpy(variance), _counted(rows), torch.from_numpy(covariance)
        )

    def _start(self, delta: Array, weight: Array, mean: Array) -> Array | None:
        """Where the newest answer leads if it is the only new one, and the prior takes the rest."""
        if self._last is None:
            return None
        last, before = self._last
        shift: Array | float = 0.0
        if mean is not before:
            shift = last.covariance.dot(self._precision.dot(mean - before))
        if len(delta) == len(last.bend) + 1:
            return forecast(last, delta, weight, shift)
        return last.at + shift

    def _prior_mean(self, rows: Array, weight: Array) -> Array:
        if isinstance(self._mean, np.ndarray):
            return self._mean
        return self._mean(weight.dot(rows)[: self._read])


def _one(table: Array) -> Tensor:
    """One user's numbers (...) as a tensor (1, ...)."""
    return torch.from_numpy(table.astype(np.float32)[None])


def _counted(rows: Array) -> Tensor:
    """(1,) the number of answers."""
    return torch.from_numpy(np.array([len(rows)]))  # half the time of torch.tensor
