"""Cards: where a data set comes from, how it was prepared, what was read and what left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from palate.data.comparisons import IntArray, PreferenceData
from palate.data.splits import Split


@dataclass(frozen=True)
class DataCard:
    """What a reader of a result must know of its data.

    source: what was read in this run. hub_id, licence, citation: None or "unknown" where nobody
    told. prepared: how comparisons were made. left_out: reason and number of what was not used.
    counts: of what is there. digest: SHA-256 of the comparisons, their identity.
    """

    name: str
    title: str
    source: str
    licence: str
    citation: str
    prepared: str
    hub_id: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    counts: Mapping[str, float] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    digest: str = ""

    def to_json(self) -> dict[str, Any]:
        """The card as one object."""
        return asdict(self) | {"notes": list(self.notes)}

    def to_markdown(self) -> str:
        """The card as a page."""
        facts = {
            "Source": self.source,
            "Hub id": self.hub_id or "none",
            "Licence": self.licence,
            "Citation": self.citation,
            "SHA-256 of the comparisons": f"`{self.digest}`" if self.digest else "not computed",
        }
        left_out = {reason: number for reason, number in self.left_out.items() if number}
        pieces = [
            f"# {self.title}",
            "\n".join(f"- {name}: {value}" for name, value in facts.items()),
            f"## Preparation\n\n{self.prepared}",
            *([_table("Options", "option", "value", self.options)] if self.options else []),
            _table("Counts", "what", "number", self.counts),
            _table("Left out", "why", "number", left_out) if left_out else "Nothing was left out.",
            "\n".join(f"- {note}" for note in self.notes),
        ]
        return "\n\n".join(piece for piece in pieces if piece) + "\n"


def _table(title: str, key: str, value: str, rows: Mapping[str, Any]) -> str:
    lines = [f"| {_shown(name)} | {_shown(number)} |" for name, number in rows.items()]
    return "\n".join([f"## {title}", "", f"| {key} | {value} |", "|---|---|", *lines])


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.1f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value).replace("|", "\\|").replace("_", " ").replace("\n", " ")


def count(data: PreferenceData, split: Split | None = None) -> dict[str, float]:
    """Comparisons, users and texts; of a split also the means per user, as papers give them."""
    counts: dict[str, float] = {
        "comparisons": len(data),
        "users": len(np.unique(data.user)),
        "prompts": len(np.unique(data.prompt)),
        "responses": len(np.unique(np.concatenate([data.chosen, data.rejected]))),
    }
    if split is None:
        return counts
    return counts | {
        "seen_users": len(split.seen),
        "unseen_users": len(split.unseen),
        "training_per_seen_user": _mean(data, split.train, split.seen),
        "evaluation_per_seen_user": _mean(data, split.evaluation, split.seen),
        "reference_per_unseen_user": _mean(data, split.reference, split.unseen),
        "evaluation_per_unseen_user": _mean(data, split.evaluation, split.unseen),
    }


def _mean(data: PreferenceData, rows: IntArray, users: IntArray) -> float:
    return float(np.isin(data.user[rows], users).sum() / len(users))
