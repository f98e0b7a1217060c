"""The algebra of answers: whatever two devices do, in whatever order they meet, they agree."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from palate.adaptation.record import (
    Answer,
    Record,
    answer_key,
    latest,
    opposite,
    state_keys,
)
from palate.errors import PosteriorError
from palate.types import Comparison, Message

KEYS = ["a<", "a>", "b<", "c>"]
EMPTY = Record(torch.zeros(0, 2))


def row_of(key: str) -> list[float]:
    """An answer's evidence is a function of the answer."""
    return [float(KEYS.index(key)), 1.0]


def rows_of(*keys: str) -> Tensor:
    return torch.tensor([row_of(key) for key in keys]).view(-1, 2)


def give(record: Record, key: str, time: float | None = None) -> Record:
    fresh = [] if key in record.keys else [key]
    return record.add({key: time}, rows_of(*fresh))


def toggle(record: Record, key: str, time: float) -> Record:
    """Withdraw what stands, give what does not."""
    return record.withdraw([key]) if key in record.keys else give(record, key, time)


def content(record: Record) -> tuple[list[tuple[Answer, tuple[float, ...]]], dict[str, int]]:
    """All that is in a record, in an order that does not depend on how it came about."""
    rows = [tuple(row) for row in record.rows.tolist()]
    pairs = sorted(zip(record.answers, rows, strict=True), key=lambda pair: pair[0].key)
    return pairs, dict(record.withdrawn)


def replayed(steps: list[tuple[str, float]], start: Record = EMPTY) -> Record:
    for key, time in steps:
        start = toggle(start, key, time)
    return start


steps = st.lists(st.tuples(st.sampled_from(KEYS), st.sampled_from([1.0, 2.0, 3.0])), max_size=8)


@given(shared=steps, phone=steps, laptop=steps, tablet=steps)
def test_combining_is_a_union(
    shared: list[tuple[str, float]],
    phone: list[tuple[str, float]],
    laptop: list[tuple[str, float]],
    tablet: list[tuple[str, float]],
) -> None:
    """Commutative, associative, idempotent; rows stay with their answers."""
    start = replayed(shared)
    one, two, three = (replayed(own, start) for own in (phone, laptop, tablet))
    both = one.combine(two)
    assert content(both) == content(two.combine(one))
    assert torch.equal(both.rows, two.combine(one).rows)
    assert content(both.combine(three)) == content(one.combine(two.combine(three)))
    assert content(one.combine(one)) == content(one)
    assert content(both.combine(one)) == content(both)
    for record in (one, both):
        assert [tuple(row) for row in record.rows.tolist()] == [
            tuple(row_of(answer.key)) for answer in record.answers
        ]
        assert not record.keys.keys() & record.withdrawn.keys()


@given(shared=steps, own=steps)
def test_who_did_nothing_learns_what_the_other_did(
    shared: list[tuple[str, float]], own: list[tuple[str, float]]
) -> None:
    start = replayed(shared)
    after = replayed(own, start)
    assert content(start.combine(after)) == content(after)


def test_a_withdrawn_answer_stays_withdrawn_until_it_is_given_again() -> None:
    phone = give(give(EMPTY, "a<"), "b<")
    laptop = phone.withdraw(["a<"])
    both = phone.combine(laptop)
    assert set(both.keys) == {"b<"}
    again = give(both, "a<")
    assert set(again.keys) == {"a<", "b<"}
    assert set(again.combine(laptop).keys) == set(laptop.combine(again).keys) == {"a<", "b<"}
    assert set(again.withdraw(["a<"]).combine(again).keys) == {"b<"}


def test_answers_of_two_devices_are_all_there_once() -> None:
    shared = give(EMPTY, "a<", 1.0)
    both = give(shared, "b<", 2.0).combine(give(shared, "c>", 0.5))
    assert [answer.key for answer in both.answers] == ["c>", "a<", "b<"]
    assert torch.equal(both.rows, rows_of("c>", "a<", "b<"))


def test_an_answer_given_again_was_given_when_it_last_was() -> None:
    record = give(give(EMPTY, "a<", 5.0), "a<", 9.0)
    assert record.answers == (Answer("a<", 9.0, 1),)
    assert give(record, "a<", 7.0).answers == record.answers
    assert give(record, "a<").answers == record.answers
    other = give(EMPTY, "a<", 11.0)
    assert record.combine(other).answers[0].time == 11.0
    assert latest() is None
    assert latest(None, -2.0) == -2.0


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (["b<"], "answer 1 of 1 to withdraw was never given"),
        (["a<", "a>"], "answer 2 of 2 to withdraw was never given"),
        (["c>"], "was withdrawn already"),
    ],
)
def test_only_what_stands_can_be_withdrawn(keys: list[str], words: str) -> None:
    record = give(give(EMPTY, "a<"), "c>").withdraw(["c>"])
    with pytest.raises(PosteriorError, match=words):
        record.withdraw(keys)
    assert set(record.keys) == {"a<"}


def test_contradictions_follow_from_the_answers() -> None:
    record = give(give(give(EMPTY, "a<"), "a>"), "b<")
    assert record.contradictory == 2
    assert record.withdraw(["a>"]).contradictory == 0
    assert give(EMPTY, "a<").combine(give(EMPTY, "a>")).contradictory == 2


# -- keys -----------------------------------------------------------------------------------------

texts = st.text(max_size=3)


@given(prompt=texts, chosen=texts, rejected=texts)
def test_the_opposite_answer_has_the_opposite_key(prompt: str, chosen: str, rejected: str) -> None:
    if chosen == rejected:
        return
    key = answer_key(Comparison(prompt, chosen, rejected))
    turned = answer_key(Comparison(prompt, rejected, chosen))
    assert key != turned
    assert opposite(key) == turned
    assert opposite(turned) == key


def test_other_answers_have_other_keys() -> None:
    answers = [
        Comparison("p", "a", "b"),
        Comparison("pa", "b", "c"),
        Comparison("p", "ab", "c"),
        Comparison("p", "a", "bc"),
        Comparison((Message("user", "p"),), "a", "b"),
    ]
    assert len({answer_key(answer) for answer in answers}) == len(answers)


def test_states_are_known_by_their_evidence() -> None:
    rows = torch.tensor([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0]])
    keys = state_keys(rows, EMPTY)
    assert len(set(keys)) == 3
    assert keys[:2] == state_keys(rows[:2], EMPTY)  # the same on another device
    record = EMPTY.add(dict.fromkeys(keys), rows)
    assert not set(state_keys(rows, record)) & set(keys)  # given again, each is another row
    assert not set(state_keys(rows, record.withdraw(keys))) & set(keys)
    assert record.contradictory == 0
    assert opposite(keys[0]) is None
