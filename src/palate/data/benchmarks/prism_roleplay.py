"""PRISM role-played (PReF, section 5): judgements of pairs by models that play people.

A row is one judgement: user_id, prompt, response_a, response_b and how far A is preferred, in
[0, 1]: either `preference`, or `a_first` and `b_first`, what was said with A and with B shown
first. A null is a judge's answer that could not be read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from palate.data.benchmarks.cards import DataCard
from palate.data.benchmarks.prepared import Benchmark, Prepared, finish, loaded
from palate.data.benchmarks.record_files import rows_of_file
from palate.data.benchmarks.rows import Row, parse_rows, require_columns
from palate.data.protocols import pref_split
from palate.errors import DataError, Problem, SettingsError

COLUMNS = ("user_id", "prompt", "response_a", "response_b")
BOTH_ORDERS = ("a_first", "b_first")

DISAGREE = "judgements that change with the order"
TIE = "judgements without a preference"
UNREAD = "judgements that could not be read"
SAME = "judgements of a response against itself"


@dataclass(frozen=True)
class RolePlayOptions:
    """PReF's shares: of the users who are seen, and of the prompts that train."""

    users: float = 0.8
    prompts: float = 0.8

    def __post_init__(self) -> None:
        for name in ("users", "prompts"):
            if not 0 < getattr(self, name) < 1:
                raise SettingsError(f"{name} is {getattr(self, name)}; expected 0 to 1")


@dataclass(frozen=True)
class Judgement:
    """How far a user prefers A to B, in [0, 1]; `orders` holds one value, or one per order."""

    user: str
    prompt: str
    response_a: str
    response_b: str
    orders: tuple[float | None, ...]

    @property
    def flaw(self) -> str | None:
        """Why this is no comparison; None if it is one."""
        known = [value for value in self.orders if value is not None]
        if self.response_a == self.response_b:
            return SAME
        if len(known) < len(self.orders):
            return UNREAD
        if min(known) < 0.5 < max(known):
            return DISAGREE
        return TIE if self.preference == 0.5 else None

    @property
    def preference(self) -> float:
        """The mean over the orders (PReF, appendix B.1)."""
        known = [value for value in self.orders if value is not None]
        return sum(known) / len(known)


def load(source: str | Path | None, seed: int, options: RolePlayOptions) -> Prepared:
    """Read judgements, average both orders, and divide into PReF's four parts."""
    if source is None:
        raise DataError(
            "prism-roleplay has no place on the hub: give a file of judgements (user_id, prompt, "
            "response_a, response_b, and preference or a_first and b_first) as source"
        )
    judgements = read_judgements(rows_of_file(Path(source)))
    rows, left_out = comparisons_of(judgements)
    data = loaded(str(source), rows)
    counts = {"judgements_read": len(judgements)}
    card = replace(_card(source), counts=counts, left_out=left_out)
    split = pref_split(data, seed, users=options.users, prompts=options.prompts)
    return finish(card, data, split, options)


def _card(source: str | Path) -> DataCard:
    return DataCard(
        name="prism-roleplay",
        title="PRISM, role-played",
        source=str(source),
        licence="that of PRISM for its texts; of the judgements unknown",
        citation="Shenfeld et al., Language Model Personalization via Reward Factorization, 2025, "
        "arXiv:2503.06358; people and prompts of Kirk et al., 2024, arXiv:2404.16019",
        prepared=(
            "A user is a model that plays a person of the survey. The preference is the mean over "
            "both orders in which a pair is shown; where the orders contradict each other, there "
            "is no comparison. Users and prompts are divided separately: train, validation (the "
            "same users, other prompts), calibration (other users, the training prompts), test."
        ),
    )


def read_judgements(rows: Sequence[Row]) -> list[Judgement]:
    """Judgements in the canonical form. Raises `DataError`; a pair is judged once by a user."""
    whole = any("preference" in row.values for row in rows)
    columns = ("preference",) if whole else BOTH_ORDERS
    require_columns(rows, (*COLUMNS, *columns))
    judgements = parse_rows(rows, lambda row: _judgement(row, columns))
    first: dict[tuple[str, ...], int] = {}
    problems = []
    for row, one in zip(rows, judgements, strict=True):
        key = (one.user, one.prompt, *sorted((one.response_a, one.response_b)))
        if first.setdefault(key, row.number) != row.number:
            fault = f"judged this pair in row {first[key]} already; average the two"
            problems.append(Problem(row.file, row.number, "user_id", fault))
    if problems:
        raise DataError(problems)
    return judgements


def comparisons_of(judgements: Sequence[Judgement]) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Rows in the canonical form of comparisons, and what was left out by its reason."""
    flaws = Counter(one.flaw for one in judgements if one.flaw)
    rows = []
    for one in judgements:
        if one.flaw is None:
            texts = (one.response_a, one.response_b)
            chosen, rejected = texts if one.preference > 0.5 else texts[::-1]
            rows.append(
                {
                    "user_id": one.user,
                    "prompt": one.prompt,
                    "chosen": chosen,
                    "rejected": rejected,
                }
            )
    return rows, {reason: flaws[reason] for reason in (DISAGREE, TIE, UNREAD, SAME)}


def _judgement(row: Row, columns: Sequence[str]) -> Judgement:
    return Judgement(
        row.name("user_id"),
        row.text("prompt"),
        row.text("response_a"),
        row.text("response_b"),
        tuple(_preference(row, column) for column in columns),
    )


def _preference(row: Row, column: str) -> float | None:
    null = column in row.values and row.values[column] is None
    return None if null else row.number_of(column, 0, 1)


BENCHMARK = Benchmark("PRISM, role-played", RolePlayOptions, load)
