"""Change points against a sum over every set of them, and what forgetting by them does."""

from itertools import combinations, pairwise

import pytest
import torch

from palate.honesty.change import log_evidence, starts, weights_of_answers
from palate.honesty.prequential import prequential
from palate.types import Evidence, PairBatch
from tests.unit.honesty.planted import answered, tastes, true_method
from tests.unit.methods.worlds import random_pairs

HAZARD = 0.1


def part(pairs: PairBatch, first: int, last: int) -> PairBatch:
    """One user of answers first:last."""
    rows = slice(first, last)
    return PairBatch(
        pairs.features, pairs.chosen[rows], pairs.rejected[rows], torch.tensor([0, last - first])
    )


def changing(users: int, answers: int = 40) -> PairBatch:
    """Users of the opposite taste from the middle on."""
    generator = torch.Generator().manual_seed(2)
    taste = tastes(users, generator)
    half = answers // 2
    return answered(torch.stack([taste] * half + [-taste] * half, dim=1), generator)


def by_enumeration(pairs: PairBatch, n: int) -> list[float]:
    """P(the last change was before answer k) from the joint law of all sets of changes."""
    total = [0.0] * n
    for number in range(n):
        for changes in combinations(range(1, n), number):
            edges = [0, *changes, n]
            log_p = sum(
                torch.nn.functional.logsigmoid(prequential(true_method(), part(pairs, a, b)))
                .double()
                .sum()
                for a, b in pairwise(edges)
            )
            prior = HAZARD**number * (1 - HAZARD) ** (n - 1 - number)
            total[edges[-2]] += prior * float(torch.exp(torch.as_tensor(log_p)))
    return [value / sum(total) for value in total]


def test_the_start_of_the_taste_is_as_by_summing_over_all_changes() -> None:
    pairs = random_pairs([5], 3)
    evidence = log_evidence(true_method(), pairs, torch.tensor([0]))
    found = starts(evidence, torch.tensor([5]), HAZARD)[0]
    assert found.tolist() == pytest.approx(by_enumeration(pairs, 5), abs=1e-6)
    weight = weights_of_answers(true_method(), pairs, hazard=HAZARD)
    torch.testing.assert_close(weight, found.cumsum(0).float())


def test_each_user_alone_is_what_they_are_among_others() -> None:
    counts = [0, 5, 1, 9, 12]
    pairs = random_pairs(counts, 3)
    together = weights_of_answers(true_method(), pairs)
    for user in range(len(counts)):
        first, last = (int(offset) for offset in pairs.offsets[user : user + 2])
        alone = weights_of_answers(true_method(), part(pairs, first, last))
        torch.testing.assert_close(together[first:last], alone)


def test_weights_rise_to_the_newest_answer() -> None:
    pairs = changing(5, answers=20)
    weight = weights_of_answers(true_method(), pairs).view(5, -1)
    assert (weight.diff() >= 0).all()
    torch.testing.assert_close(weight[:, -1], torch.ones(5))
    assert isinstance(
        Evidence(torch.zeros(len(pairs), 1), pairs.offsets, weight.view(-1)), Evidence
    )


def test_a_reversed_taste_is_forgotten_and_a_lasting_one_is_not() -> None:
    turned = weights_of_answers(true_method(), changing(15), hazard=0.01).view(15, 40)
    generator = torch.Generator().manual_seed(3)
    lasting = answered(tastes(15, generator)[:, None].expand(-1, 40, -1), generator)
    kept = weights_of_answers(true_method(), lasting, hazard=0.01).view(15, 40)
    assert float(turned[:, :18].mean()) < 0.25
    assert float(turned[:, 22:].mean()) > 0.8
    assert float(kept.mean()) > 0.85


def test_only_the_newest_answers_are_looked_at() -> None:
    pairs = changing(15)
    few = weights_of_answers(true_method(), pairs, most=24).view(15, 40)
    assert (few[:, :17] == few[:, :1]).all()  # older ones belong to the oldest looked at
    assert float(few[:, :16].mean()) < 0.3
    assert float(few[:, 22:].mean()) > 0.7


def test_users_without_answers_have_no_weights() -> None:
    assert weights_of_answers(true_method(), random_pairs([0, 0], 3)).shape == (0,)


@pytest.mark.parametrize("hazard", [0.0, 1.0, -0.1, float("nan")])
def test_hazards_that_are_no_probability_are_refused(hazard: float) -> None:
    with pytest.raises(ValueError, match="hazard"):
        weights_of_answers(true_method(), random_pairs([2], 3), hazard=hazard)
