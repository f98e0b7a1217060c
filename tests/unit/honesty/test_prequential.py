"""Prequential predictions against a refit on every prefix."""

import pytest
import torch

from palate.honesty.prequential import predict_from, prequential, spans
from palate.methods import Margins
from palate.types import Evidence, PairBatch, UserPosterior
from tests.unit.honesty.planted import answered, tastes, true_method
from tests.unit.methods.worlds import random_pairs


def one_user(pairs: PairBatch, rows: torch.Tensor) -> PairBatch:
    return PairBatch(
        pairs.features, pairs.chosen[rows], pairs.rejected[rows], torch.tensor([0, len(rows)])
    )


def naive(pairs: PairBatch) -> list[float]:
    method, found = true_method(), []
    for user in range(pairs.users):
        start, end = (int(offset) for offset in pairs.offsets[user : user + 2])
        for answer in range(start, end):
            posterior = method.infer(one_user(pairs, torch.arange(start, answer)))
            margins = method.margins(posterior, one_user(pairs, torch.tensor([answer])))
            found.append(float(margins.logit))
    return found


@pytest.mark.parametrize("batch", [1, 7, 10_000])
def test_an_answer_is_predicted_by_a_refit_on_those_before_it(batch: int) -> None:
    pairs = random_pairs([0, 5, 1, 8, 0], 3)
    logit = prequential(true_method(), pairs, batch=batch)
    torch.testing.assert_close(logit, torch.tensor(naive(pairs)), rtol=1e-4, atol=1e-5)


def test_no_answer_reaches_a_prediction_of_one_before_it() -> None:
    generator = torch.Generator().manual_seed(0)
    pairs = answered(tastes(1, generator)[:, None].expand(1, 9, 3), generator)
    turned = pairs.chosen.clone(), pairs.rejected.clone()
    turned[0][6], turned[1][6] = pairs.rejected[6], pairs.chosen[6]
    other = PairBatch(pairs.features, *turned, pairs.offsets)
    first, second = (prequential(true_method(), given) for given in (pairs, other))
    torch.testing.assert_close(first[:6], second[:6])
    torch.testing.assert_close(first[6], -second[6])
    assert not torch.isclose(first[7:], second[7:]).any()


def test_the_first_answer_is_predicted_by_the_population() -> None:
    pairs = random_pairs([1, 1, 4], 3)
    assert prequential(true_method(), pairs)[pairs.offsets[:-1]].tolist() == [0, 0, 0]


def test_a_short_half_life_predicts_from_the_last_answer_alone() -> None:
    pairs = random_pairs([6], 3)
    answer = torch.arange(1, 6)
    aged = prequential(true_method(), pairs, half_life=0.02)[1:]
    alone = predict_from(true_method(), pairs, answer - 1, answer)
    torch.testing.assert_close(aged, alone, rtol=1e-4, atol=1e-6)


def test_spans_weigh_rows_by_their_age() -> None:
    rows = torch.arange(12.0).view(6, 2)
    evidence = spans(rows, torch.tensor([0, 4, 2]), torch.tensor([3, 4, 4]), half_life=2.0)
    assert isinstance(evidence, Evidence)
    assert evidence.rows[:, 0].tolist() == [0, 2, 4, 4, 6]
    assert evidence.counts.tolist() == [3, 0, 2]
    assert evidence.weight is not None
    torch.testing.assert_close(evidence.weight, torch.tensor([0.5, 0.5**0.5, 1, 0.5**0.5, 1]))


def test_users_without_answers_and_none_at_all() -> None:
    assert prequential(true_method(), random_pairs([0, 0], 3)).shape == (0,)


@pytest.mark.parametrize("half_life", [0.0, -1.0, float("nan")])
def test_a_half_life_that_is_none_is_refused(half_life: float) -> None:
    with pytest.raises(ValueError, match="half_life"):
        prequential(true_method(), random_pairs([2], 3), half_life=half_life)


def test_a_method_that_reads_prompts_is_given_them(monkeypatch: pytest.MonkeyPatch) -> None:
    given, method = random_pairs([3, 2], 3, prompts=2), true_method()
    margins, seen = method.margins, []

    def reading(posterior: UserPosterior, pairs: PairBatch) -> Margins:
        assert pairs.prompt is not None
        seen.append(pairs.features[pairs.prompt])
        return margins(posterior, pairs)

    monkeypatch.setattr(method, "margins", reading)
    prequential(method, given)
    assert given.prompt is not None
    assert torch.equal(torch.cat(seen), given.features[given.prompt])
