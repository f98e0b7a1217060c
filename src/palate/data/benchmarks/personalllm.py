"""PersonalLLM (Zollo et al., 2024): simulated users, each a mixture of ten reward models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from palate.data.benchmarks.cards import DataCard
from palate.data.benchmarks.origin import Origin
from palate.data.benchmarks.prepared import Benchmark, Prepared, prepare
from palate.data.benchmarks.rows import Row, parse_rows, require_columns
from palate.data.comparisons import FloatArray, IntArray
from palate.data.protocols import Use
from palate.errors import SettingsError, SplitError

#: The official name has two parts: the prompts to train on, and others to evaluate on.
ORIGIN = Origin("namkoong-lab/PersonalLLM", None, ("train", "test"))
RESPONSES = 8
REWARD_MODELS = (
    "gemma_2b",
    "gemma_7b",
    "mistral_raft",
    "mistral_ray",
    "mistral_weqweasdas",
    "llama3_sfairx",
    "oasst_deberta_v3",
    "beaver_7b",
    "oasst_pythia_7b",
    "oasst_pythia_1b",
)
#: Concentration of the symmetric Dirichlet that users are drawn from (the values are LoRe's).
DIVERSITY = {"very-diverse": 0.001, "moderately-diverse": 0.01, "near-uniform": 0.1}


@dataclass(frozen=True)
class PersonalLLMOptions:
    """What VRF's table 3 has, by default.

    diversity: how far users differ. users: seen ones, and as many unseen ones. training: pairs of
    a seen user on training prompts (the paper takes 9 as reference and 36 as target); reference:
    of an unseen one. seen_evaluation, unseen_evaluation: pairs on test prompts.
    """

    diversity: Literal["very-diverse", "moderately-diverse", "near-uniform"] = "very-diverse"
    users: int = 1000
    training: int = 45
    seen_evaluation: int = 45
    reference: int = 9
    unseen_evaluation: int = 9

    def __post_init__(self) -> None:
        for name in ("users", "training", "seen_evaluation", "reference", "unseen_evaluation"):
            if getattr(self, name) < 1:
                raise SettingsError(f"{name} is {getattr(self, name)}; expected at least 1")


@dataclass(frozen=True)
class Scored:
    """A prompt, its 8 responses, and the scores (8, 10) that the reward models give them."""

    prompt: str
    responses: tuple[str, ...]
    scores: FloatArray


@dataclass(frozen=True, eq=False)
class Part:
    """P prompts with texts (P, 8), numbered over both parts, and scores (P, 8, 10)."""

    scored: Sequence[Scored]
    text: IntArray
    scores: FloatArray


def load(source: str | Path | None, seed: int, options: PersonalLLMOptions) -> Prepared:
    """Read both parts, draw users, and take for each the best against the worst response."""
    parts = {name: _usable(ORIGIN.read(name, source)) for name in ORIGIN.parts}
    left_out = {f"{name} prompts with an empty text": empty for name, (_, empty) in parts.items()}
    training = {one.prompt for one in parts["train"][0]}
    test = [one for one in parts["test"][0] if one.prompt not in training]
    left_out["test prompts that are in training"] = len(parts["test"][0]) - len(test)
    rows, use = _comparisons(*_numbered(parts["train"][0], test), seed, options)
    counts = {"training_prompts": len(parts["train"][0]), "test_prompts": len(test)}
    card = replace(_card(source, options), counts=counts, left_out=left_out)
    return prepare(card, rows, use, seed, options)


def _card(source: str | Path | None, options: PersonalLLMOptions) -> DataCard:
    return DataCard(
        name="personalllm",
        title="PersonalLLM",
        source=str(source or ORIGIN.hub_id),
        hub_id=ORIGIN.hub_id,
        licence="as its page on the hub says; not verified here",
        citation="Zollo et al., PersonalLLM: Tailoring LLMs to Individual Preferences, 2024, "
        "arXiv:2409.20296",
        prepared=(
            "A user is a vector of weights over the ten reward models, drawn from a symmetric "
            f"Dirichlet with alpha {DIVERSITY[options.diversity]:g}. Each reward model's scores "
            "are standardised by its mean and standard deviation over the training prompts. A "
            "pair is the best against the worst of the 8 responses by the weighted score."
        ),
        notes=(
            "The paper's text has lost the values of alpha and the normalisation; alpha is "
            "LoRe's, the normalisation ours.",
            "A test prompt on which a user's pair holds a text that anybody learns from is "
            "replaced by another.",
        ),
    )


def _usable(rows: list[Row]) -> tuple[list[Scored], int]:
    """The prompts in alphabetical order, and how many hold an empty text."""
    fields = [f"response_{i + 1}" for i in range(RESPONSES)]
    scores = [f"{field}_{model}" for field in fields for model in REWARD_MODELS]
    require_columns(rows, ["prompt", *fields, *scores])
    scored = parse_rows(rows, lambda row: _scored(row, fields))
    whole = [one for one in scored if all(text.strip() for text in (one.prompt, *one.responses))]
    return sorted(whole, key=lambda one: (one.prompt, one.responses)), len(scored) - len(whole)


def _scored(row: Row, fields: Sequence[str]) -> Scored:
    scores = [[row.number_of(f"{field}_{model}") for model in REWARD_MODELS] for field in fields]
    texts = tuple(row.string(field) for field in fields)
    return Scored(row.string("prompt"), texts, np.array(scores))


def _numbered(train: Sequence[Scored], test: Sequence[Scored]) -> tuple[Part, Part]:
    """Both parts with standardised scores."""
    if not train or not test:
        raise SplitError("no prompt is left to train on or to evaluate on")
    numbers: dict[str, int] = {}
    learned = np.stack([one.scores for one in train])
    mean, deviation = learned.mean((0, 1)), learned.std((0, 1))
    # A model that gives one score to everything says nothing; it must not divide by zero.
    deviation = np.where(deviation > 0, deviation, 1.0)

    def part(scored: Sequence[Scored]) -> Part:
        text = [[numbers.setdefault(t, len(numbers)) for t in one.responses] for one in scored]
        scores = (np.stack([one.scores for one in scored]) - mean) / deviation
        return Part(scored, np.array(text), scores)

    return part(train), part(test)


def _comparisons(
    train: Part, test: Part, seed: int, options: PersonalLLMOptions
) -> tuple[list[dict[str, Any]], list[Use]]:
    """All users' rows and what each is for; first what is learned, then what is evaluated."""
    tastes, draws = np.random.default_rng(seed).spawn(2)
    alpha = np.full(len(REWARD_MODELS), DIVERSITY[options.diversity])
    weights = tastes.dirichlet(alpha, size=2 * options.users)
    seen = np.arange(len(weights)) < options.users
    learned = np.zeros(1 + max(int(train.text.max()), int(test.text.max())), dtype=bool)
    rows: list[dict[str, Any]] = []
    use: list[Use] = []
    for user, weight in enumerate(weights):
        wanted = options.training if seen[user] else options.reference
        for row in _pairs(train, user, weight, wanted, np.zeros_like(learned), draws):
            learned[row.pop("texts")] = True
            rows.append(row)
            use.append("train" if seen[user] else "reference")
    for user, weight in enumerate(weights):
        wanted = options.seen_evaluation if seen[user] else options.unseen_evaluation
        for row in _pairs(test, user, weight, wanted, learned, draws):
            del row["texts"]
            rows.append(row)
            use.append("evaluation")
    return rows, use


def _pairs(
    part: Part,
    user: int,
    weight: FloatArray,
    wanted: int,
    barred: NDArray[np.bool_],
    draws: np.random.Generator,
) -> Iterator[dict[str, Any]]:
    """A user's pairs on random prompts: the best against the worst, neither text barred."""
    score = part.scores @ weight
    prompts = np.arange(len(score))
    best, worst = score.argmax(1), score.argmin(1)
    texts = np.stack([part.text[prompts, best], part.text[prompts, worst]], axis=1)
    order = draws.permutation(len(score))
    # Equal texts are a tie; so are equal scores, of which best and worst are both the first.
    possible = (texts[:, 0] != texts[:, 1]) & ~barred[texts].any(1)
    taken = order[possible[order]][:wanted]
    if len(taken) < wanted:
        raise SplitError(
            f"user {user + 1} can be asked about {len(taken)} prompts, but {wanted} are wanted: "
            "ask for fewer, or bring more prompts"
        )
    for prompt in taken.tolist():
        one = part.scored[prompt]
        yield {
            "user_id": f"user-{user + 1:04d}",
            "prompt": one.prompt,
            "chosen": one.responses[best[prompt]],
            "rejected": one.responses[worst[prompt]],
            "texts": texts[prompt],
        }


BENCHMARK = Benchmark("PersonalLLM", PersonalLLMOptions, load)
