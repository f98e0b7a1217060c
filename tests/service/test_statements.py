"""A state is a function of the log: compact, quick to change, and the same however it was made."""

from __future__ import annotations

import random
import time
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from palate.service import statements as said
from palate.service.making import Made, Making
from palate.service.store import Entry
from tests.service import worlds
from tests.service.worlds import answer, assert_same

MAKING = Making(worlds.made("pref"))


def after(made: Made, entries: list[Entry]) -> Made:
    """With more entries, their evidence computed here."""
    answers = said.answers_of(entries)
    rows = MAKING.evidence([each for _, each in answers]) if answers else []
    evidence = {entry.number: own for (entry, _), own in zip(answers, rows, strict=True)}
    return MAKING.more(made, entries, evidence)


def log_of(steps: list[tuple[str, int]]) -> list[Entry]:
    """A log of answers, withdrawals of what stands before, and cuts."""
    log: list[Entry] = []
    for number, (kind, value) in enumerate(steps, 1):
        if kind == "answer" or number == 1:
            log.append(Entry(number, "answer", 0.0, answer(value)))
        elif kind == "withdrawal":
            log.append(Entry(number, "withdrawal", 0.0, target=1 + value % (number - 1)))
        else:
            log.append(Entry(number, "expiry", 0.0, target=1 + value % (number - 1)))
    return log


steps = st.lists(
    st.tuples(
        st.sampled_from(["answer", "answer", "answer", "withdrawal", "expiry"]), st.integers(0, 9)
    ),
    min_size=1,
    max_size=14,
)


@given(steps=steps, cuts=st.lists(st.integers(0, 14), max_size=3))
@settings(max_examples=200)
def test_it_is_the_same_in_one_go_and_step_by_step(
    steps: list[tuple[str, int]], cuts: list[int]
) -> None:
    log = log_of(steps)
    whole = after(MAKING.nothing(), log)
    made, places = MAKING.nothing(), sorted({0, *cuts, len(log)})
    for start, end in pairwise(places):
        made = after(made, log[start:end])
        made = MAKING.read(made.through, *made.as_bytes()) if made.through else made
    assert made.through == whole.through == len(log)
    assert made.profile.answers == whole.profile.answers
    assert made.profile.record.withdrawn == whole.profile.record.withdrawn
    assert_same(made.profile, whole.profile.posterior, atol=1e-6)
    fitted = MAKING.profiles.of(whole.profile.record)
    assert_same(made.profile, fitted.posterior)


def test_what_was_taken_back_is_remembered_however_it_is_made() -> None:
    log = log_of([("answer", 0), ("withdrawal", 0), ("answer", 0), ("answer", 4)])
    log.append(Entry(5, "withdrawal", 0.0, target=4))
    whole, made = after(MAKING.nothing(), log), MAKING.nothing()
    for entry in log:
        made = after(made, [entry])
    for each in (whole, made):
        assert [answer.turn for answer in each.profile.answers] == [3]
        assert list(each.profile.record.withdrawn.values()) == [2, 2]  # a tie has two sides


def test_bytes_come_back() -> None:
    made = after(MAKING.nothing(), log_of([("answer", i) for i in range(6)]))
    again = MAKING.read(made.through, *made.as_bytes())
    assert again.profile.answers == made.profile.answers
    assert torch.equal(again.profile.evidence, made.profile.evidence)
    assert torch.equal(again.profile.posterior.mean, made.profile.posterior.mean)
    assert torch.equal(again.profile.posterior.covariance, made.profile.posterior.covariance)
    assert again.as_bytes() == made.as_bytes()


def test_it_is_compact() -> None:
    made = after(MAKING.nothing(), log_of([("answer", 0)] * 10))
    state, posterior = made.as_bytes()
    assert len(state) == 10 * (34 + 4 * 3)
    assert len(posterior) == 4 * (3 + 3 + 9)


@pytest.mark.parametrize(("state", "posterior"), [(b"x", b""), (b"", b"x"), (b"", b"\x00" * 400)])
def test_bytes_that_are_another_models(state: bytes, posterior: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - numpy says which
        MAKING.read(1, state, posterior)


def test_the_populations_posterior_is_of_no_bytes() -> None:
    assert MAKING.read(0, b"", b"").profile.posterior is not None
    assert len(MAKING.nothing().profile.answers) == 0


@pytest.mark.parametrize("method", ["vrf", "brf", "pref"])
def test_an_update_takes_well_under_a_millisecond(method: str) -> None:
    """From the bytes of 20 answers to those of 21; the quickest of many, as others compute too."""
    making = Making(worlds.made(method))
    log = [Entry(i, "answer", 0.0, answer(3 * i, tie=False)) for i in range(1, 22)]
    rows = making.evidence([each for _, each in said.answers_of(log)])
    evidence = dict(enumerate(rows, 1))
    state, posterior = making.more(making.nothing(), log[:20], evidence).as_bytes()
    times = []
    for _ in range(200):
        started = time.perf_counter()
        made = making.more(making.read(20, state, posterior), log[20:], evidence)
        made.as_bytes()
        times.append(time.perf_counter() - started)
    assert min(times) < 1e-3


def test_keys_are_those_of_profiles_everywhere() -> None:
    """An export can be combined with what a device holds."""
    made = after(MAKING.nothing(), log_of([("answer", i) for i in range(4)]))
    profiles = MAKING.profiles
    device = profiles.add(profiles.new(), [worlds.comparison(2), worlds.comparison(7)], 9.0)
    both = profiles.combine(made.profile, device)
    assert len(both.answers) == 5
    again = profiles.from_json(made.profile.to_json())
    assert again.answers == made.profile.answers
    assert_same(again, made.profile.posterior)


def test_the_order_of_entries_is_nothing() -> None:
    entries = [Entry(i + 1, "answer", 0.0, answer(i)) for i in range(12)]
    found = []
    for seed in range(3):
        mixed = random.Random(seed).sample([entry.answer for entry in entries], 12)
        log = [Entry(i, "answer", 0.0, each) for i, each in enumerate(mixed, 1)]
        found.append(after(MAKING.nothing(), log).profile)
    for other in found[1:]:
        assert other.answers == found[0].answers
        np.testing.assert_array_equal(other.evidence, found[0].evidence)
