"""One tree of errors; every message says what was seen, what was expected and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class PalateError(Exception):
    """Base of every error that a caller can do something about."""


@dataclass(frozen=True)
class Problem:
    """One fault in a file: where it stands, what was seen, what to do.

    `row` counts from 1 (for JSON Lines it is the line); None where the fault is the whole file's.
    `uninformative` marks a row that says nothing and so can do no harm.
    """

    file: str
    row: int | None
    field: str | None
    message: str
    uninformative: bool = False

    def __str__(self) -> str:
        row = "" if self.row is None else f", row {self.row}"
        field = "" if self.field is None else f", field '{self.field}'"
        return f"{self.file}{row}{field}: {self.message}"


class DataError(PalateError):
    """Comparisons or answers that cannot be used; carries every problem, not the first alone."""

    SHOWN = 5

    def __init__(self, problems: Sequence[Problem] | str) -> None:
        self.problems = (
            (Problem(file="data", row=None, field=None, message=problems),)
            if isinstance(problems, str)
            else tuple(problems)
        )
        if isinstance(problems, str):
            super().__init__(problems)
            return
        lines = [str(problem) for problem in self.problems[: self.SHOWN]]
        more = len(self.problems) - self.SHOWN
        if more > 0:
            lines.append(f"... and {more} more; `palate data check` lists them all")
        super().__init__("\n".join(lines))


class SplitError(DataError):
    """Data that cannot be divided as asked: too few users, comparisons or texts."""


class SettingsError(PalateError):
    """A setting that does not exist or is out of its range."""


class BackboneError(PalateError):
    """A backbone that is unknown, damaged, or cannot be loaded here."""


class CacheError(PalateError):
    """The feature cache cannot be read or written (no disk left, no permission, damaged)."""


class ModelError(PalateError):
    """A saved model that is missing, damaged, or of a newer format."""


class PosteriorError(PalateError):
    """A user's posterior that is damaged or belongs to another model."""


class CannotRunError(PalateError):
    """A method cannot run here, by its nature: the benchmark skips it with this reason."""


class ExperimentError(PalateError):
    """An experiment's file that cannot be read or used; names the file and the key."""


class PolicyError(PalateError):
    """A language model that was asked for answers, or a judge for a verdict, gave none."""


class ScaleError(PalateError):
    """A distributed job that cannot be started, or not continued."""


class StoreError(PalateError):
    """The service's database refuses, or does not hold what was asked for."""
