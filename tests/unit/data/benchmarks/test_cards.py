from __future__ import annotations

import json
from pathlib import Path

from palate.data.benchmarks import DataCard, load_benchmark
from tests.unit.data.benchmarks.official import prism, write_jsonl

CARD = DataCard(
    name="x",
    title="The X set",
    source="a/b_c.jsonl",
    licence="CC0",
    citation="Nobody, 2020",
    prepared="As it is.",
    counts={"comparisons": 12345, "evaluation_per_seen_user": 8.6},
    left_out={"ties | draws": 3, "none of these": 0},
    notes=("Mind the gap.",),
)


def test_a_card_reads_as_a_page() -> None:
    page = CARD.to_markdown()
    assert page.startswith("# The X set\n\n- Source: a/b_c.jsonl\n- Hub id: none\n")
    assert "| comparisons | 12,345 |" in page
    assert "| evaluation per seen user | 8.6 |" in page
    assert "| ties \\| draws | 3 |" in page
    assert "none of these" not in page
    assert page.endswith("- Mind the gap.\n")
    assert "## Options" not in page


def test_a_card_is_json_without_loss() -> None:
    assert DataCard(**{**json.loads(json.dumps(CARD.to_json())), "notes": CARD.notes}) == CARD


def test_a_loaded_card_tells_what_was_read_and_how(tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "utterances.jsonl", prism(10))
    prepared = load_benchmark("prism", source=source, options={"training": 0.25})
    card = prepared.card
    assert card.source == str(source)
    assert card.hub_id == "HannahRoseKirk/prism-alignment"
    assert "NC" in card.licence
    assert card.digest == prepared.data.digest
    assert card.options == {"balanced": True, "seen": 0.5, "training": 0.25}
    assert card.counts["utterances_read"] == 10 * 4 * 6
    assert card.counts["seen_users"] == card.counts["unseen_users"] == 5
    assert card.counts["training_per_seen_user"] == 2.0
    assert card.counts["reference_per_unseen_user"] == 2.0
    assert card.counts["evaluation_per_seen_user"] == 6.0
    assert card.counts["evaluation_per_unseen_user"] == 6.0
    assert "## Left out" not in card.to_markdown()
