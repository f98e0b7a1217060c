"""The model card: what a model learned from, how, and how well, for whoever meets its folder."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from palate.features import BackboneSpec
from palate.methods import Method

#: Files that lie beside a model's own: the card, and the figures of its last evaluation.
CARD = "README.md"
EVALUATION = "evaluation.json"


def model_card(
    identity: str,
    method: Method,
    backbone: BackboneSpec | None,
    report: dict[str, Any],
    evaluation: dict[str, Any] | None,
) -> str:
    """Markdown with a hub's front matter; figures where the model has been evaluated."""
    data, split = report["data"], report["split"]
    read_by = _backbone_name(backbone)
    lines = [
        "---",
        "library_name: palate",
        "tags: [reward-model, personalization, preference-learning]",
        "---",
        "",
        f"# Personal reward model: {method.name} on {read_by}",
        "",
        f"A reward model for every user, by {method.paper}. Identity `{identity}`.",
        "",
        "## Data",
        "",
        f"- source: `{data['source'].rsplit('/', 1)[-1]}` (content {data['digest'][:16]})",
        f"- {data['comparisons']:,} comparisons of {data['users']:,} users, "
        f"{data['responses']:,} distinct responses",
        f"- {data['left_out']:,} rows left out that said nothing",
        f"- split by {split['kind']}, seed {split['seed']}: {split['train']:,} comparisons train; "
        f"{split['seen_users']:,} seen and {split['unseen_users']:,} unseen users are evaluated on "
        f"{split['evaluation']:,} comparisons of texts held out",
        f"- {split['straddling']:,} comparisons with a text on either side are not used; "
        f"{split['users_with_too_few']:,} users have under {split['min_comparisons']} training "
        "comparisons and are not evaluated",
        "",
        *_figures(evaluation),
        "## Use",
        "",
        "```python",
        "from palate import PersonalRewardModel",
        "",
        'model = PersonalRewardModel.load("this-folder")',
        "user = model.adapt(answers)  # a few comparisons of one user",
        "model.rank(prompt, candidates, user).best",
        "```",
        "",
        "## Limits",
        "",
        *_limits(method, report),
        "",
        "## Settings and versions",
        "",
        "```json",
        json.dumps(
            {
                "settings": asdict(method.settings),
                "chosen_on_validation": report["training"],
                "diagnostics": report["diagnostics"],
                "encoding": report["encoding"],
                "seconds": report["seconds"],
                "versions": report["versions"],
            },
            indent=1,
        ),
        "```",
    ]
    return "\n".join(lines) + "\n"


def export_card(identity: str, method: Method, backbone: BackboneSpec) -> str:
    """What a server of an exported model has to know: how texts are rendered, what scores are."""
    lines = [
        f"# Basis rewards of {method.name} as a stock sequence classifier",
        "",
        f"From the personal reward model `{identity}` on {_backbone_name(backbone)}.",
        "Labels are the K bases; a user's reward of a text is the sum of scores times the user's",
        "weights (`user.weights.mean`), up to a constant that no comparison of answers sees.",
        "",
        "Texts: the tokenizer's chat template over prompt and answer where it has one, else",
        "`prompt + blank line + answer + end-of-text token`, with special tokens as the tokenizer",
        f"adds them; at most {backbone.max_tokens:,} tokens, of which the last are kept. Ask a",
        "server for raw scores, without softmax or sigmoid.",
    ]
    return "\n".join(lines) + "\n"


def _backbone_name(backbone: BackboneSpec | None) -> str:
    if backbone is None:
        return "given features"
    if backbone.reference is not None:
        return f"{backbone.reference.name}, trained"
    return backbone.name


def _figures(evaluation: dict[str, Any] | None) -> list[str]:
    if evaluation is None:
        return ["## Figures", "", "Not evaluated yet: `palate evaluate` writes them here.", ""]
    rows = [
        f"| {name} | {_share(part['accuracy'])} ± {_share(part['standard_error'])} | "
        f"{part['users']} | {_decimal(part['log_loss'])} | {_decimal(part['calibration_error'])} |"
        for name, part in (("seen", evaluation["seen"]), ("unseen", evaluation["unseen"]))
    ]
    few = evaluation["few_shot"]
    return [
        "## Figures",
        "",
        "Accuracy in percent with its standard error over users, on texts never trained on.",
        "",
        "| users | accuracy | number | log-loss | calibration error |",
        "|---|---|---|---|---|",
        *rows,
        "",
        "| comparisons of an unseen user | " + " | ".join(few) + " |",
        "|---" * (len(few) + 1) + "|",
        "| accuracy | " + " | ".join(_share(value) for value in few.values()) + " |",
        "",
    ]


def _limits(method: Method, report: dict[str, Any]) -> list[str]:
    truncated = report["encoding"].get("truncated", 0)
    limits = [
        f"- {truncated:,} texts were longer than the backbone reads: it read their last tokens.",
        "- Rewards compare responses to one prompt for one user; they have no absolute meaning.",
        "- The figures hold for users and texts like those of the data above.",
    ]
    if not method.gives_uncertainty:
        limits.append("- This method gives no uncertainty: `sd` is absent, not zero.")
    if report["diagnostics"].get("collapsed"):
        limits.append("- Users' weights collapsed: everybody has nearly the same; see diagnostics.")
    return limits


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _decimal(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
