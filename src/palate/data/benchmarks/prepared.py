"""What a loader hands over, and what a loader is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from palate.data.benchmarks.cards import DataCard, count
from palate.data.comparisons import PreferenceData
from palate.data.protocols import Use, split_by_use
from palate.data.splits import Split
from palate.errors import DataError


@dataclass(frozen=True, eq=False)
class Prepared:
    """Comparisons ready for a benchmark.

    split: the protocol of the paper; None where `make_split` shall divide as it does any data.
    """

    data: PreferenceData
    split: Split | None
    card: DataCard


@dataclass(frozen=True)
class Benchmark:
    """A data set: how its options are called, and its loader.

    load(source, seed, options): `source` is a copy on disk, None the data set's own place; the
    seed draws users and splits. It raises `DataError`, `SplitError` or `SettingsError`.
    """

    title: str
    options: type[Any]
    load: Callable[[str | Path | None, int, Any], Prepared]


def loaded(name: str, rows: Sequence[dict[str, Any]]) -> PreferenceData:
    """Comparisons of rows that a loader made, validated; none may be lost, `use` stands beside."""
    if not rows:
        raise DataError(f"{name}: no comparison is left; see the counts of the card")
    data = PreferenceData.load(list(rows))
    if len(data) != len(rows):
        raise DataError(list(data.left_out))
    return replace(data, source=name)


def prepare(
    card: DataCard, rows: Sequence[dict[str, Any]], use: Sequence[Use], seed: int, options: object
) -> Prepared:
    """Comparisons, split by the use of each row, and the card with its counts."""
    data = loaded(card.source, rows)
    split = split_by_use(data, use, seed)
    return finish(card, data, split, options)


def finish(card: DataCard, data: PreferenceData, split: Split | None, options: object) -> Prepared:
    """Fill in what of a card is known only now."""
    left_out = dict(card.left_out)
    if split is not None:
        left_out["pairs with a text of the other side"] = split.counts["straddling"]
        left_out["pairs of users with too few"] = split.counts["of_users_with_too_few"]
    card = replace(
        card,
        counts={**card.counts, **count(data, split)},
        left_out=left_out,
        digest=data.digest,
        options=asdict(options),  # type: ignore[call-overload]
    )
    return Prepared(data, split, card)
