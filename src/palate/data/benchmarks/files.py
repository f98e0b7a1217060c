"""A prepared data set as files: comparisons with their use, and the card."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from palate.data.benchmarks.prepared import Prepared
from palate.files import new_folder
from palate.types import Text

COMPARISONS = "comparisons.jsonl"
CARD = "README.md"


def write_prepared(prepared: Prepared, folder: Path) -> dict[str, str]:
    """Write both; returns the files and what they hold.

    A row's `use` is train, reference or evaluation by the data set's own protocol, or empty where
    the row has none. Raises `OutputError` where the folder holds something already.
    """
    with new_folder(folder) as temporary:
        with (temporary / COMPARISONS).open("w", encoding="utf-8") as stream:
            for row in _rows(prepared):
                stream.write(json.dumps(row, ensure_ascii=False) + "\n")
        (temporary / CARD).write_text(prepared.card.to_markdown(), encoding="utf-8")
    return {
        COMPARISONS: f"{len(prepared.data):,} comparisons by {len(prepared.data.user_ids):,} users",
        CARD: "the card: source, licence, preparation, counts",
    }


def _rows(prepared: Prepared) -> Iterator[dict[str, Any]]:
    data, split = prepared.data, prepared.split
    use = np.full(len(data), "", dtype=object)
    if split is not None:
        for name in ("train", "reference", "evaluation"):
            use[getattr(split, name)] = name
    for i, comparison in enumerate(data):
        row: dict[str, Any] = {"user_id": data.user_ids[data.user[i]]}
        for name in ("prompt", "chosen", "rejected"):
            row[name] = _plain(getattr(comparison, name))
        if data.group is not None:
            row["group"] = data.group_names[data.group[i]]
        if split is not None:
            row["use"] = use[i]
        yield row


def _plain(text: Text) -> str | list[dict[str, str]]:
    return text if isinstance(text, str) else [asdict(message) for message in text]
