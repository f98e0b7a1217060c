"""What one model makes of a user's log: statements, and the posterior that follows from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from palate.adaptation.ageing import Ageing
from palate.adaptation.living import LivingPosterior
from palate.adaptation.profile import UserProfile, evidence_of
from palate.adaptation.profiles import Profiles
from palate.adaptation.record import Record
from palate.service import statements as said
from palate.service.statements import Statements
from palate.service.store.entries import Entry, NewAnswer
from palate.types import UserPosterior

Rows = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Made:
    """What a model made of the first `through` entries of a log.

    stored: the posterior, where it was read with the statements; else it is made when asked for.
    """

    making: Making
    through: int
    statements: Statements
    stored: UserPosterior | None = None

    @cached_property
    def profile(self) -> UserProfile:
        """The user as all of palate knows users.

        Raises `PosteriorError` where the evidence leaves no posterior.
        """
        return self.making.profile(said.record_of(self.statements), self.stored)

    def as_bytes(self) -> tuple[bytes, bytes]:
        """The statements; and mean (d,), variance (d,), covariance (d, d) that there are."""
        own = self.profile.posterior
        tables = [table for table in (own.mean, own.variance, own.covariance) if table is not None]
        posterior = b"".join(table.numpy().astype("<f4").tobytes() for table in tables)
        return self.statements.tobytes(), posterior


class Making:
    """A model's way from entries to posteriors. Nothing here knows of a database.

    half_life: seconds after which an answer counts half, at the time of the user's newest answer;
    None lets all count whole. Raises `SettingsError` for a half-life that is none.
    """

    def __init__(self, profiles: Profiles, half_life: float | None = None) -> None:
        self.profiles = profiles
        self._ageing = None if half_life is None else Ageing(half_life, now=0.0)
        self._nobody = profiles.new()
        self._width = self._nobody.evidence.shape[1]

    @property
    def identity(self) -> str:
        """What tells these posteriors from others: the model, and how answers age."""
        aged = "" if self._ageing is None else f" half-life {self._ageing.half_life!r}"
        return self.profiles.model + aged

    def nothing(self) -> Made:
        """Of a log without entries: the population."""
        return Made(self, 0, said.read(b"", self._width), self._nobody.posterior)

    def evidence(self, answers: Sequence[NewAnswer]) -> list[Rows]:
        """What answers say, (1 or 2, E) each; their texts are encoded here, all at once."""
        sides = [said.sides(answer) for answer in answers]
        rows = self.profiles.reader.evidence([side for each in sides for side in each])
        following = iter(rows.numpy().astype("<f4"))
        return [np.stack(list(islice(following, len(each)))) for each in sides]

    def more(self, made: Made, entries: Sequence[Entry], evidence: Mapping[int, Rows]) -> Made:
        """With the entries that follow in the log, and evidence of their answers by number.

        What one of them takes back stays, without evidence: that it was given and taken back.
        """
        if not entries:
            return made
        fresh = [
            said.of_answer(
                entry, entry.answer, evidence.get(entry.number, self._none(entry.answer))
            )
            for entry in entries
            if entry.answer is not None
        ]
        statements = said.fold(made.statements, entries, fresh)
        return Made(self, entries[-1].number, statements)

    def _none(self, answer: NewAnswer) -> Rows:
        """Evidence of an answer that is not read."""
        return np.zeros((len(said.sides(answer)), self._width), dtype="<f4")

    def read(self, through: int, state: bytes, posterior: bytes) -> Made:
        """What `Made.as_bytes` gave; raises `ValueError` where it is none of this model's."""
        if through == 0:
            return self.nothing()
        nobody, rest = self._nobody.posterior, np.frombuffer(posterior, dtype="<f4")
        tables: list[Tensor | None] = []
        for like in (nobody.mean, nobody.variance, nobody.covariance):
            size = 0 if like is None else like.numel()
            tables.append(None if like is None else _as(like, rest[:size]))
            rest = rest[size:]
        if len(rest):
            raise ValueError("a posterior of more numbers than this model's")
        mean, variance, covariance = tables
        assert mean is not None
        own = UserPosterior(mean, variance, torch.zeros(1, dtype=torch.long), covariance)
        return Made(self, through, said.read(state, self._width), own)

    def profile(self, record: Record, stored: UserPosterior | None = None) -> UserProfile:
        """The user who gave some answers; `stored` is the posterior where it is known."""
        ageing = self._ageing and self._ageing.until(record.answers)
        method = self.profiles.method
        if stored is None:
            own = LivingPosterior(method, evidence_of(record, ageing)).posterior
        else:
            own = replace(stored, answers=torch.tensor([len(record)]))
        weights = method.weights(own)
        return UserProfile(self.profiles.model, method.name, record, own, weights, ageing)


def _as(like: Tensor, numbers: Rows) -> Tensor:
    """Numbers in a tensor's shape; raises `ValueError` where they are too few."""
    return torch.from_numpy(numbers.reshape(like.shape).copy())
