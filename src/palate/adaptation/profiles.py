"""The users of one model: profiles made, continued, taken back, aged and combined."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from palate.adaptation.ageing import Ageing, together
from palate.adaptation.profile import UserProfile, evidence_of
from palate.adaptation.reader import Answers, Reader
from palate.adaptation.record import Record, answer_key, latest, state_keys
from palate.adaptation.saved import SavedProfile, read_profile
from palate.data.comparisons import PreferenceData
from palate.errors import DataError, PosteriorError
from palate.progress import Progress
from palate.types import Comparison, PairBatch

Times = float | Sequence[float] | Tensor


class Profiles:
    """All that happens to a profile. Each function gives another one and changes none.

    The answers are the truth and the posterior is made anew from their evidence, so that whatever
    is done equals a refit on the answers that stand. Raises `PosteriorError` for a profile of
    another model.
    """

    def __init__(self, reader: Reader, model: str) -> None:
        self.reader = reader
        self.method = reader.method
        self.model = model

    def new(self) -> UserProfile:
        """A user of whom nothing is known: the population."""
        nothing = torch.zeros(0, self.method.width)
        with torch.no_grad():
            rows = self.method.evidence(PairBatch.of_pairs(nothing, nothing, nothing))
        return self.of(Record(rows))

    def of(self, record: Record, ageing: Ageing | None = None) -> UserProfile:
        """The profile of some answers."""
        posterior = self.method.posterior(evidence_of(record, ageing))
        weights = self.method.weights(posterior)
        return UserProfile(self.model, self.method.name, record, posterior, weights, ageing)

    def check(self, user: UserProfile) -> UserProfile:
        """The profile itself; raises `PosteriorError` where it is of another model."""
        if user.model != self.model:
            raise PosteriorError("the user's posterior belongs to another model")
        return user

    def add(
        self,
        user: UserProfile,
        answers: Answers,
        times: Times | None = None,
        progress: Progress | None = None,
    ) -> UserProfile:
        """With more answers; one that stands is evidence once, and was given when it last was."""
        record = self.check(user).record
        if isinstance(answers, tuple):
            rows = self.reader.evidence_of_states(answers)
            given = dict(zip(state_keys(rows, record), _times(times, len(rows)), strict=True))
        else:
            comparisons = list(answers)
            if times is None and isinstance(answers, PreferenceData):
                times = None if answers.timestamp is None else answers.timestamp.tolist()
            given, texts = {}, {}
            for each, time in zip(comparisons, _times(times, len(comparisons)), strict=True):
                key = answer_key(each)
                given[key] = latest(given.get(key), time)
                texts[key] = each
            held = record.keys
            fresh = [texts[key] for key in given if key not in held]
            rows = self.reader.evidence(fresh, progress)
        record = record.add(given, rows)
        return self.of(record, user.ageing and user.ageing.until(record.answers))

    def withdraw(
        self, user: UserProfile, answers: PreferenceData | Iterable[Comparison | str]
    ) -> UserProfile:
        """Without some answers, given as comparisons or by their keys."""
        keys = [each if isinstance(each, str) else answer_key(each) for each in answers]
        record = self.check(user).record.withdraw(list(dict.fromkeys(keys)))
        return self.of(record, user.ageing)

    def age(
        self, user: UserProfile, half_life: float | None, now: float | None = None
    ) -> UserProfile:
        """With answers that count 2^(-age / half_life) at `now`, that of the newest by default."""
        record = self.check(user).record
        if half_life is None:
            return self.of(record)
        newest = latest(*(answer.time for answer in record.answers))
        return self.of(record, Ageing(half_life, (newest or 0.0) if now is None else now))

    def combine(self, one: UserProfile, other: UserProfile) -> UserProfile:
        """The union of one user's answers on two devices, in either order the same."""
        record = self.check(one).record.combine(self.check(other).record)
        return self.of(record, together(one.ageing, other.ageing))

    # -- files --------------------------------------------------------------------------------

    def load(self, path: str | os.PathLike[str]) -> UserProfile:
        """A profile from its file."""
        return self._restore(read_profile(path), f"the user file {path}")

    def from_json(self, content: Mapping[str, Any]) -> UserProfile:
        """A profile from what its `to_json` gave."""
        return self._restore(SavedProfile.from_json(content), "the user's profile")

    def _restore(self, saved: SavedProfile, name: str) -> UserProfile:
        if saved.model != self.model:
            raise PosteriorError(
                f"{name} belongs to model {saved.model[:12]}, this is {self.model[:12]}: adapt "
                "again from the user's answers"
            )
        columns, expected = saved.record.rows.shape[1], self.new().evidence.shape[1]
        if columns != expected:
            raise PosteriorError(
                f"{name} is damaged: its evidence has {columns} columns, not {expected}"
            )
        try:
            return self.of(saved.record, saved.ageing)
        except PosteriorError as error:
            raise PosteriorError(f"{name} is damaged: {error}") from error


def _times(times: Times | None, count: int) -> list[float | None]:
    """A time for each of some answers; raises `DataError` where they do not fit."""
    if times is None:
        return [None] * count
    found = [float(times)] * count if isinstance(times, int | float) else [float(t) for t in times]
    if len(found) != count:
        raise DataError(
            f"{len(found)} times for {count} answers: give one for each, or one for all"
        )
    if not all(map(math.isfinite, found)):
        raise DataError("a time is not finite; expected seconds since 1970")
    return list(found)
