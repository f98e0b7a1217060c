"""A step's division into references and targets: nothing is learned from what was given away."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from palate.methods.base import Step
from palate.methods.references import Division, divide


def step_of(present: list[int], slots: int, texts: int, seed: int) -> Step:
    """Users with so many comparisons in `slots` columns, of few texts, so that pairs repeat."""
    generator = torch.Generator().manual_seed(seed)
    shape = (len(present), slots)
    chosen = torch.randint(0, texts, shape, generator=generator)
    rejected = (chosen + torch.randint(1, texts, shape, generator=generator)) % texts
    weight = (torch.arange(slots) < torch.tensor(present)[:, None]).float()
    weight = weight * (0.5 + torch.rand(shape, generator=generator))
    return Step(torch.zeros(texts, 2), chosen, rejected, weight, torch.arange(len(present)))


def pair(step: Step, user: int, slot: int) -> frozenset[int]:
    """The two texts, whichever was chosen."""
    return frozenset((int(step.chosen[user, slot]), int(step.rejected[user, slot])))


steps = st.builds(
    step_of,
    st.lists(st.integers(1, 9), min_size=1, max_size=5),
    st.just(9),
    st.integers(2, 6),
    st.integers(0, 1000),
)


@given(step=steps, least=st.integers(0, 1), most=st.integers(1, 12), seed=st.integers(0, 1000))
def test_a_target_is_not_among_its_users_references(
    step: Step, least: int, most: int, seed: int
) -> None:
    division = divide(step, least, most, torch.Generator().manual_seed(seed))
    for user in range(len(step.chosen)):
        slots = range(step.chosen.shape[1])
        references = {pair(step, user, i) for i in slots if division.is_reference[user, i]}
        for slot in slots:
            held_back = bool(division.is_reference[user, slot])
            seen = pair(step, user, slot) in references
            expected = 0.0 if held_back or seen else float(step.weight[user, slot])
            assert float(division.target[user, slot]) == expected


@given(step=steps, least=st.integers(0, 1), most=st.integers(1, 12), seed=st.integers(0, 1000))
def test_references_are_the_first_and_at_most_half(
    step: Step, least: int, most: int, seed: int
) -> None:
    division = divide(step, least, most, torch.Generator().manual_seed(seed))
    present = (step.weight > 0).sum(-1)
    assert division.width == int(division.count.max())
    assert bool((2 * division.count <= present).all())
    assert bool((division.count <= most).all())
    first = torch.arange(step.chosen.shape[1]) < division.count[:, None]
    assert torch.equal(division.is_reference, first)
    assert not (division.is_reference & (step.weight == 0)).any()


def test_the_other_way_round_is_the_same_comparison() -> None:
    """Slot 0 is the reference: 1 repeats it, 2 turns it round, 3 shares one text alone."""
    chosen, rejected = torch.tensor([[0, 0, 1, 0]]), torch.tensor([[1, 1, 0, 2]])
    step = Step(torch.zeros(3, 1), chosen, rejected, torch.ones(1, 4), torch.zeros(1).long())
    division = divide(step, 1, 1, torch.Generator())
    assert division.target.tolist() == [[0.0, 0.0, 0.0, 1.0]]


def test_another_users_references_are_no_obstacle() -> None:
    chosen, rejected = torch.zeros(2, 4).long(), torch.tensor([[1, 2, 3, 4], [4, 3, 2, 1]])
    step = Step(torch.zeros(5, 1), chosen, rejected, torch.ones(2, 4), torch.arange(2))
    division = divide(step, 2, 2, torch.Generator())
    assert division.target.tolist() == [[0.0, 0.0, 1.0, 1.0]] * 2


@pytest.mark.parametrize(("least", "most"), [(0, 3), (1, 3), (1, 8), (2, 2)])
def test_every_number_between_the_bounds_is_drawn_alike(least: int, most: int) -> None:
    step = step_of([40], 40, 6, 0)
    generator = torch.Generator().manual_seed(0)
    drawn = Counter(int(divide(step, least, most, generator).count) for _ in range(1500))
    assert set(drawn) == set(range(least, most + 1))
    assert min(drawn.values()) > 0.7 * 1500 / len(drawn)


@pytest.mark.parametrize("least", [0, 1])
def test_one_comparison_each_leaves_no_reference(least: int) -> None:
    """Half of one is none: users are the population, and the comparison is the target."""
    division = divide(step_of([1, 1], 1, 4, 0), least, 20, torch.Generator().manual_seed(0))
    assert division.count.tolist() == [0, 0]
    assert division.width == 0
    assert bool((division.target > 0).all())


def test_the_mean_is_over_the_targets_by_their_weights() -> None:
    target = torch.tensor([[0.0, 1.0], [3.0, 0.0]])
    division = Division(1, torch.ones(2), torch.zeros(2, 2), target)
    assert float(division.mean(torch.tensor([[9.0, 1.0], [2.0, 9.0]]))) == pytest.approx(7 / 4)


def test_no_target_at_all_is_no_loss() -> None:
    division = Division(1, torch.ones(1), torch.ones(1, 2), torch.zeros(1, 2))
    assert float(division.mean(torch.ones(1, 2))) == 0.0
