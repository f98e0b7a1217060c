"""The report on one user's answers, on users whose tastes and care are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from palate import PreferenceData
from palate.adaptation.reader import Reader
from palate.errors import DataError
from palate.honesty.check import AnswerCheck, check_answers, first_showings
from palate.progress import Progress
from palate.types import Text
from tests.unit.honesty.planted import WIDTH, true_method

Row = dict[str, object]


class KnownTexts(Reader):
    """Reads a text "p 1.0 2.0 3.0" as the hidden state that it names."""

    def __init__(self) -> None:
        super().__init__(true_method(), None, None)

    def encode(
        self, texts: list[tuple[Text, Text]], progress: Progress | None = None
    ) -> torch.Tensor:
        del progress
        states = [[float(x) for x in str(text).split()] for _, text in texts]
        return torch.tensor(states).view(-1, WIDTH)


def rows_by(tastes: list[np.ndarray], rng: np.random.Generator, *, random: float = 0) -> list[Row]:
    """An answer by each taste; a share of them at random."""
    rows: list[Row] = []
    for taste in tastes:
        pair = rng.normal(size=(2, WIDTH)).round(2) * 2
        margin = float((pair[0] - pair[1]) @ taste)
        p = 0.5 if rng.random() < random else 1 / (1 + np.exp(-margin))
        texts = [" ".join(map(str, row)) for row in pair]
        first = int(rng.random() < p)
        rows.append({"prompt": "p", "chosen": texts[1 - first], "rejected": texts[first]})
    return rows


def checked(rows: list[Row]) -> AnswerCheck:
    return check_answers(KnownTexts(), PreferenceData.load(rows, user="u"), seed=1)


TASTE = np.array([1.5, -1.0, 0.5])


def test_answers_of_one_taste_fit() -> None:
    found = checked(rows_by([TASTE] * 40, np.random.default_rng(0)))
    assert (found.since, found.raised, found.predicted) == (None, None, 40)
    assert abs(found.surprise) < 2.5
    assert found.threshold is not None
    assert found.statistic < found.threshold
    assert found.verdict == "nothing speaks against one taste"


def test_a_taste_that_turns_is_dated_in_the_order_of_the_rows() -> None:
    found = checked(rows_by([TASTE] * 25 + [-TASTE] * 15, np.random.default_rng(0)))
    assert found.since is not None
    assert abs(found.since - 26) <= 2
    assert found.raised is not None
    assert found.since <= found.raised <= 40
    assert f"since answer {found.since} " in found.verdict


def test_timestamps_decide_the_order() -> None:
    rows = rows_by([TASTE] * 25 + [-TASTE] * 15, np.random.default_rng(0))
    timed = [row | {"timestamp": 1e9 + i} for i, row in enumerate(rows)]
    shuffled = [timed[i] for i in np.random.default_rng(1).permutation(len(rows))]
    assert checked(shuffled) == checked(rows)


def test_repeats_speak_of_care_and_not_of_drift() -> None:
    rng = np.random.default_rng(2)
    rows = rows_by([TASTE] * 30, rng)
    turned = [{**r, "chosen": r["rejected"], "rejected": r["chosen"]} for r in rows]
    careful, careless = (checked(rows + again) for again in (rows, turned[:15] + rows[15:]))
    assert (careful.consistency.agreeing, careful.consistency.verdict) == (30, "careful")
    assert (careless.consistency.agreeing, careless.consistency.verdict) == (15, "careless")
    assert "as if at random" in careless.verdict
    for found in (careful, careless):
        assert (found.predicted, found.since) == (30, None)
        assert found.surprise == checked(rows).surprise


def test_answering_at_random_surprises_nobody_who_learned_nothing() -> None:
    """Coin flips leave the posterior unsure, and unsure predictions cannot fail by much."""
    found = [
        checked(rows_by([TASTE] * 40, np.random.default_rng(seed), random=1)) for seed in range(5)
    ]
    assert sum(f.since is not None for f in found) <= 3


def test_first_showings_are_either_way_round() -> None:
    rows = [("a", "b"), ("c", "b"), ("b", "a"), ("a", "c"), ("a", "b")]
    data = PreferenceData.load(
        [{"prompt": "p", "chosen": one, "rejected": two} for one, two in rows], user="u"
    )
    assert first_showings(data).tolist() == [0, 1, 3]


def test_the_report_goes_into_json() -> None:
    content = checked(rows_by([TASTE] * 3, np.random.default_rng(0))).to_json()
    assert content["consistency"]["repeats"] == 0
    assert content["verdict"] == "nothing speaks against one taste"


def test_no_answers_are_none() -> None:
    data = PreferenceData.load(rows_by([TASTE], np.random.default_rng(0)), user="u")
    found = check_answers(KnownTexts(), data.select(np.zeros(0, dtype=np.int64)))
    assert (found.predicted, found.threshold, found.since) == (0, None, None)
    assert found.verdict == "there are no answers"


def test_one_answer_is_too_few_to_be_surprised_by() -> None:
    found = checked(rows_by([TASTE], np.random.default_rng(0)))
    assert (found.since, found.surprise, found.consistency.verdict) == (None, 0, "unclear")


def test_several_users_are_refused() -> None:
    rows = [
        row | {"user_id": name}
        for name in "ab"
        for row in rows_by([TASTE], np.random.default_rng(0))
    ]
    with pytest.raises(DataError, match="2 users"):
        check_answers(KnownTexts(), PreferenceData.load(rows))
