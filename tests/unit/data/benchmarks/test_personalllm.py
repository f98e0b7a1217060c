from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from palate.data.benchmarks import Prepared, load_benchmark
from palate.data.benchmarks.personalllm import DIVERSITY, REWARD_MODELS
from palate.errors import DataError, SettingsError, SplitError
from tests.unit.data.benchmarks.official import Row, personalllm, write_jsonl, write_parquet

SMALL = {"users": 12, "training": 10, "seen_evaluation": 8, "reference": 3, "unseen_evaluation": 4}


def copy(folder: Path, train: list[Row], test: list[Row]) -> Path:
    write_parquet(folder / "data" / "train-00000-of-00001.parquet", train)
    write_parquet(folder / "data" / "test-00000-of-00001.parquet", test)
    return folder


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return copy(tmp_path / "copy", personalllm(40), personalllm(20, start=1000))


def load(source: Path, seed: int = 0, **options: Any) -> Prepared:
    return load_benchmark("personalllm", source=source, seed=seed, options=SMALL | options)


def test_every_user_has_the_numbers_of_the_protocol(source: Path) -> None:
    split = load(source).split
    assert split is not None
    data = split.data
    assert (len(split.seen), len(split.unseen)) == (12, 12)
    for users, rows, wanted in (
        (split.seen, split.train, 10),
        (split.unseen, split.reference, 3),
        (split.seen, split.evaluation, 8),
        (split.unseen, split.evaluation, 4),
    ):
        of_user = np.bincount(data.user[rows], minlength=len(data.user_ids))[users]
        assert set(of_user.tolist()) == {wanted}


def test_defaults_are_the_papers(tmp_path: Path) -> None:
    from palate.data.benchmarks.personalllm import PersonalLLMOptions

    options = PersonalLLMOptions()
    assert (options.users, options.training, options.reference) == (1000, 9 + 36, 9)
    assert (options.seen_evaluation, options.unseen_evaluation) == (45, 9)
    assert DIVERSITY == {"very-diverse": 0.001, "moderately-diverse": 0.01, "near-uniform": 0.1}


def test_training_is_on_training_prompts_and_evaluation_on_test_prompts(source: Path) -> None:
    split = load(source).split
    assert split is not None
    numbers = np.array([int(str(prompt).split()[1]) for prompt in split.data.prompts])
    prompt = split.data.prompt
    assert (numbers[prompt[split.train]] < 1000).all()
    assert (numbers[prompt[split.reference]] < 1000).all()
    assert (numbers[prompt[split.evaluation]] >= 1000).all()


def test_a_pair_is_the_best_against_the_worst_by_one_standardised_reward_model(
    source: Path,
) -> None:
    """With alpha 0.001 nearly every user is one reward model; its scores decide, whatever scale."""
    prepared = load(source, users=12)
    rows = {row["prompt"]: row for row in personalllm(40)}
    explained = 0
    assert prepared.split is not None
    for user in prepared.split.seen:
        mine = prepared.data.select(
            prepared.split.train[prepared.data.user[prepared.split.train] == user]
        )
        agreeing = []
        for model in REWARD_MODELS:
            good = 0
            for one in mine:
                row = rows[str(one.prompt)]
                scores = {row[f"response_{i}"]: row[f"response_{i}_{model}"] for i in range(1, 9)}
                best = max(scores, key=scores.__getitem__)
                worst = min(scores, key=scores.__getitem__)
                good += (one.chosen, one.rejected) == (best, worst)
            agreeing.append(good)
        explained += max(agreeing) == len(mine)
    assert explained >= 10


def test_scales_of_the_reward_models_do_not_matter(source: Path, tmp_path: Path) -> None:
    def scaled(rows: list[Row]) -> list[Row]:
        return [
            {k: 1000 * v + 5 if k.endswith("gemma_2b") else v for k, v in row.items()}
            for row in rows
        ]

    other = copy(tmp_path / "scaled", scaled(personalllm(40)), scaled(personalllm(20, start=1000)))
    options = {"diversity": "near-uniform", "users": 30}
    assert load(source, **options).data.digest == load(other, **options).data.digest


def test_the_seed_decides_everything(source: Path) -> None:
    one, again, other = load(source, 3), load(source, 3), load(source, 4)
    assert one.data.digest == again.data.digest != other.data.digest
    assert one.split is not None
    assert again.split is not None
    assert (one.split.reference == again.split.reference).all()


def test_the_order_of_the_rows_does_not_matter(source: Path, tmp_path: Path) -> None:
    turned = copy(tmp_path / "t", personalllm(40)[::-1], personalllm(20, start=1000)[::-1])
    assert load(source).data.digest == load(turned).data.digest


def test_every_level_of_diversity_draws_other_users(source: Path) -> None:
    def digest(level: str) -> str:
        return load(source, diversity=level).data.digest

    assert len({digest(level) for level in DIVERSITY}) == 3


def test_test_prompts_of_training_and_empty_responses_are_left_out(tmp_path: Path) -> None:
    train, test = personalllm(40), personalllm(20, start=1000)
    train[3]["response_5"] = " "
    test[0]["prompt"] = "prompt 7"
    prepared = load(copy(tmp_path, train, test))
    assert prepared.card.left_out["train prompts with an empty text"] == 1
    assert prepared.card.left_out["test prompts that are in training"] == 1
    assert prepared.card.counts["training_prompts"] == 39
    assert prepared.card.counts["test_prompts"] == 19


def test_a_text_of_training_is_never_evaluated(tmp_path: Path) -> None:
    train, test = personalllm(40), personalllm(20, start=1000)
    for row in train + test:
        row["response_1"] = "I cannot help with that."
    prepared = load(copy(tmp_path, train, test), training=20, seen_evaluation=2)
    split = prepared.split
    assert split is not None
    # Nor is a pair lost for it: another prompt is asked.
    assert prepared.card.left_out["pairs with a text of the other side"] == 0
    refusal = prepared.data.responses.index("I cannot help with that.")
    rows = np.concatenate([split.train, split.reference])
    assert refusal in set(prepared.data.chosen[rows]) | set(prepared.data.rejected[rows])
    chosen, rejected = (
        prepared.data.chosen[split.evaluation],
        prepared.data.rejected[split.evaluation],
    )
    assert refusal not in set(chosen) | set(rejected)


def test_responses_all_alike_are_no_pair(tmp_path: Path) -> None:
    train = personalllm(12)
    for i in range(1, 9):
        train[0][f"response_{i}"] = "the same"
    with pytest.raises(SplitError, match="11 prompts, but 12 are wanted"):
        load(copy(tmp_path, train, personalllm(20, start=1000)), training=12)


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    train = [{k: v for k, v in row.items() if "beaver" not in k} for row in personalllm(5)]
    with pytest.raises(DataError, match=r"response_1_beaver_7b.*column is missing"):
        load(copy(tmp_path, train, personalllm(5)))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), "high", None, True])
def test_a_score_that_is_no_number_names_its_row(tmp_path: Path, bad: object) -> None:
    train = personalllm(6)
    train[3]["response_2_gemma_7b"] = bad
    folder = tmp_path / "copy"
    write_jsonl(folder / "train.jsonl", train)
    write_jsonl(folder / "test.jsonl", personalllm(6, start=1000))
    with pytest.raises(DataError, match=r"row 4, field 'response_2_gemma_7b'") as raised:
        load(folder)
    assert len(raised.value.problems) == 1


def test_options_are_checked(source: Path) -> None:
    with pytest.raises(SettingsError, match="unknown setting alpha"):
        load(source, alpha=0.5)
    with pytest.raises(SettingsError, match="diversity"):
        load(source, diversity="very diverse")
    with pytest.raises(SettingsError, match="users is 0"):
        load(source, users=0)
