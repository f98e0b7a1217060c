"""The nouns are checked at birth, and count what they hold."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from palate.types import (
    Comparison,
    Evidence,
    Message,
    PairBatch,
    RewardDistribution,
    UserPosterior,
    as_text,
    canonical,
)

TURNS = (Message("user", "a"), Message("assistant", "b"))

counts_of_users = st.lists(st.integers(0, 5), min_size=1, max_size=6)


def evidence(counts: list[int], seed: int = 0) -> Evidence:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(sum(counts), 3, generator=generator)
    return Evidence(rows, torch.tensor([0, *counts]).cumsum(0))


@given(counts=counts_of_users, seed=st.integers(0, 100))
def test_evidence_is_summed_user_by_user(counts: list[int], seed: int) -> None:
    batch = evidence(counts, seed)
    assert batch.users == len(counts)
    assert batch.counts.tolist() == counts
    sums, start = batch.sums(), 0
    for user, count in enumerate(counts):
        own = batch.rows[start : start + count]
        assert batch.user[start : start + count].tolist() == [user] * count
        expected = own.sum(0) if count else torch.zeros(3)
        torch.testing.assert_close(sums[user], expected)
        start += count


@given(counts=counts_of_users, seed=st.integers(0, 100))
def test_an_answer_adds_its_row(counts: list[int], seed: int) -> None:
    """The sums of all but the last row, and that row, are the sums."""
    batch = evidence([*counts, 1], seed)
    fewer = Evidence(batch.rows[:-1], torch.cat([batch.offsets[:-1], batch.offsets[-2:-1]]))
    added = fewer.sums()
    added[-1] += batch.rows[-1]
    torch.testing.assert_close(added, batch.sums())


@given(counts=counts_of_users, seed=st.integers(0, 100))
def test_weighted_evidence_is_that_of_weighted_rows(counts: list[int], seed: int) -> None:
    whole = evidence(counts, seed)
    weight = torch.rand(len(whole.rows), generator=torch.Generator().manual_seed(seed))
    batch = Evidence(whole.rows, whole.offsets, weight)
    by_hand = Evidence(weight[:, None] * whole.rows, whole.offsets)
    torch.testing.assert_close(batch.sums(), by_hand.sums())
    assert torch.equal(batch.counts, whole.counts)
    for user in range(len(counts)):
        own = weight[batch.user == user]
        torch.testing.assert_close(batch.totals[user], own.sum())
    assert torch.equal(whole.totals, whole.counts)
    some = torch.arange(len(counts)).flip(0)
    torch.testing.assert_close(batch.of(some).sums(), batch.sums().flip(0))
    torch.testing.assert_close(batch.of(some).totals, batch.totals.flip(0))
    cubes = torch.ones(len(weight), 2, 2, dtype=torch.double)
    torch.testing.assert_close(batch.sum_by_user(cubes)[:, 1, 0].float(), batch.totals)


@pytest.mark.parametrize(
    "weight", [torch.ones(3), torch.ones(2, 1), torch.tensor([1.0, 1.1]), torch.tensor([-0.1, 1.0])]
)
def test_weights_of_evidence_are_one_each_and_at_most_whole(weight: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="weight"):
        Evidence(torch.zeros(2, 3), torch.tensor([0, 2]), weight)
    with pytest.raises(ValueError, match="weight"):
        Evidence(torch.zeros(1, 3), torch.tensor([0, 1]), torch.tensor([torch.nan]))


def pair_batch(**changes: Any) -> PairBatch:
    whole: dict[str, Any] = {
        "features": torch.zeros(4, 2),
        "chosen": torch.tensor([0, 1, 2]),
        "rejected": torch.tensor([1, 2, 3]),
        "offsets": torch.tensor([0, 2, 2, 3]),
    }
    return PairBatch(**(whole | changes))


def test_comparisons_belong_to_users() -> None:
    batch = pair_batch()
    assert (len(batch), batch.users) == (3, 3)
    assert batch.counts.tolist() == [2, 0, 1]
    assert batch.user.tolist() == [0, 0, 2]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features": torch.zeros(4)}, r"features must be \(N, D\), not \(4,\)"),
        ({"chosen": torch.tensor([0, 1])}, "chosen and rejected must both be"),
        ({"rejected": torch.zeros(3, 1)}, "chosen and rejected must both be"),
        ({"offsets": torch.tensor([0, 2])}, "offsets must run from 0 to B"),
        ({"offsets": torch.tensor([1, 3])}, "offsets must run from 0 to B"),
        ({"offsets": torch.zeros(0)}, "offsets must run from 0 to B"),
        ({"offsets": torch.tensor([0, 3, 2, 3])}, "offsets must not decrease"),
        ({"weight": torch.ones(2)}, r"weight must be \(B,\)"),
        ({"weight": torch.ones(3, 1)}, r"weight must be \(B,\)"),
        ({"prompt": torch.zeros(4)}, r"prompt must be \(B,\)"),
    ],
)
def test_pair_batches_that_do_not_fit_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pair_batch(**changes)


def test_pairs_of_tables_keep_who_was_chosen_and_what_was_asked() -> None:
    chosen, rejected, prompt = torch.randn(3, 4, 2).double().unbind()
    batch = PairBatch.of_pairs(chosen, rejected, prompt)
    assert batch.features.dtype == torch.float32
    assert torch.equal(batch.features[batch.chosen], chosen.float())
    assert torch.equal(batch.features[batch.rejected], rejected.float())
    assert batch.prompt is not None
    assert torch.equal(batch.features[batch.prompt], prompt.float())
    assert batch.offsets.tolist() == [0, 4]
    assert PairBatch.of_pairs(chosen, rejected).prompt is None


@pytest.mark.parametrize(
    "tables",
    [
        (torch.zeros(2, 3), torch.zeros(3, 3)),
        (torch.zeros(2), torch.zeros(2)),
        (torch.zeros(2, 3), torch.zeros(2, 3), torch.zeros(1, 3)),
        (torch.zeros(2, 3), torch.zeros(2, 3), torch.zeros(2, 4)),
    ],
)
def test_tables_of_different_shapes_are_refused(tables: tuple[torch.Tensor, ...]) -> None:
    with pytest.raises(ValueError, match=r"not all \(n, D\)"):
        PairBatch.of_pairs(*tables)


# -- posteriors -----------------------------------------------------------------------------------


def posterior() -> UserPosterior:
    covariance = torch.diag_embed(torch.tensor([[1.0, 4.0], [9.0, 16.0], [0.25, 0.25]]))
    variance = covariance.diagonal(dim1=1, dim2=2)
    return UserPosterior(torch.arange(6.0).view(3, 2), variance, torch.arange(3), covariance)


@pytest.mark.parametrize(
    "rows", [slice(1, 2), torch.tensor([2, 0]), torch.tensor([False, True, True])], ids=str
)
def test_some_users_keep_all_that_is_known_of_them(rows: Any) -> None:
    whole, some = posterior(), posterior()[rows]
    for name in ("mean", "variance", "answers", "covariance"):
        assert torch.equal(getattr(some, name), getattr(whole, name)[rows]), name


def test_what_is_not_measured_stays_so() -> None:
    point = UserPosterior(torch.zeros(3, 2), None, torch.zeros(3))
    assert point.uncertainty is None
    assert point[:1].variance is None
    assert point[:1].covariance is None
    assert RewardDistribution(torch.zeros(2), None).sd is None


def test_uncertainty_is_the_mean_standard_deviation() -> None:
    uncertainty = posterior().uncertainty
    assert uncertainty is not None
    assert uncertainty.tolist() == [1.5, 3.5, 0.5]


def test_a_rewards_standard_deviation_is_the_roots_of_the_covariances_diagonal() -> None:
    factor = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    sd = RewardDistribution(torch.zeros(5), factor).sd
    assert sd is not None
    torch.testing.assert_close(sd, (factor @ factor.T).diagonal().sqrt())


@pytest.mark.parametrize(
    ("mean", "variance", "answers", "message"),
    [
        (torch.zeros(2), None, torch.zeros(2), "mean"),
        (torch.zeros(2, 3), None, torch.zeros(3), "answers"),
        (torch.zeros(2, 3), torch.zeros(2), torch.zeros(2), "variance"),
        (torch.zeros(2, 3), torch.zeros(2, 2), torch.zeros(2), "variance"),
    ],
)
def test_posteriors_of_other_shapes_are_refused(
    mean: torch.Tensor, variance: torch.Tensor | None, answers: torch.Tensor, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        UserPosterior(mean, variance, answers)


# -- texts ----------------------------------------------------------------------------------------


def test_a_comparison_of_a_text_with_itself_is_refused() -> None:
    with pytest.raises(ValueError, match="same text"):
        Comparison("p", TURNS, TURNS)
    assert Comparison("p", "a", (Message("assistant", "a"),))


@given(st.text(max_size=5), st.text(max_size=5), st.text(max_size=5))
def test_different_texts_have_different_names(text: str, role: str, content: str) -> None:
    turns = (Message(role, content),)
    assert canonical(text) == text
    assert canonical(turns) != canonical((Message(role, content + "x"),))
    assert canonical(turns) != canonical(turns * 2)


def test_callers_texts_become_ours() -> None:
    turns = [{"role": "user", "content": "a"}, Message("assistant", "b")]
    assert as_text(turns) == TURNS
    assert as_text("a") == "a"
