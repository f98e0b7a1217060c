"""What is done to a profile equals a refit on the answers that stand."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from palate import PersonalRewardModel, PreferenceData
from palate.adaptation.profile import UserProfile
from palate.adaptation.profiles import Profiles
from palate.adaptation.reader import Reader
from palate.errors import DataError, PosteriorError, SettingsError
from palate.methods import Method
from palate.progress import Progress
from palate.types import Comparison, Evidence, Text
from tests.contract.conftest import Planted, plant

DAY = 86400.0
NAMES = ("vrf", "pref", "lore", "bt")


@pytest.fixture(scope="module")
def world() -> Planted:
    return plant(personal=True, users=24, answers=60)


@pytest.fixture(scope="module", params=NAMES)
def model(request: pytest.FixtureRequest, world: Planted) -> PersonalRewardModel:
    settings: dict[str, object] = {"steps": 20}
    if request.param == "vrf":
        settings = {"estimation": "moments"}
    return made(request.param, world, settings)


class TableReader(Reader):
    """Reads texts out of a planted table."""

    def __init__(self, method: Method, world: Planted) -> None:
        super().__init__(method, None, None)
        self._table = dict(zip(world.data.item_texts(), world.features, strict=True))

    def encode(
        self, texts: Sequence[tuple[Text, Text]], progress: Progress | None = None
    ) -> torch.Tensor:
        del progress
        return torch.stack([torch.zeros(8), *(self._table[text] for text in texts)])[1:]


def made(method: str, world: Planted, settings: dict[str, object]) -> PersonalRewardModel:
    model = PersonalRewardModel.train(
        world.data, method=method, features=world.features, settings=settings
    )
    model.users = Profiles(TableReader(model.method, world), model.identity)
    return model


@pytest.fixture(scope="module")
def answers(world: Planted) -> list[Comparison]:
    """Six different answers of one user."""
    own = world.data.select(world.data.user == 0)
    return list(dict.fromkeys(own))[:6]


def same(one: UserProfile, other: UserProfile) -> None:
    torch.testing.assert_close(one.posterior.mean, other.posterior.mean, rtol=1e-4, atol=1e-5)
    assert (one.posterior.variance is None) == (other.posterior.variance is None)
    if one.posterior.variance is not None:
        torch.testing.assert_close(one.posterior.variance, other.posterior.variance)
    assert set(one.record.keys) == set(other.record.keys)


def test_withdrawing_equals_a_refit_on_the_others(
    model: PersonalRewardModel, answers: list[Comparison]
) -> None:
    user = model.adapt(answers)
    without = model.withdraw(user, [answers[1], answers[4]])
    same(without, model.adapt([a for i, a in enumerate(answers) if i not in (1, 4)]))
    assert len(without.evidence) == without.summary()["answers"] == 4
    assert without.summary()["withdrawn"] == 2
    assert len(user.evidence) == 6  # another profile was made, this one is as it was
    same(model.adapt(answers, without), user)
    same(model.withdraw(user, answers), model.new_user())


def test_answers_are_withdrawn_by_their_keys(
    model: PersonalRewardModel, answers: list[Comparison]
) -> None:
    user = model.adapt(answers)
    same(model.withdraw(user, [user.answers[3].key]), model.withdraw(user, [answers[3]]))
    states = model.adapt(tuple(torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(0))))
    left = model.withdraw(states, [states.answers[0].key, states.answers[2].key])
    assert torch.equal(left.evidence, states.evidence[1:2])


def test_withdrawing_twice_in_one_list_is_once(
    model: PersonalRewardModel, answers: list[Comparison]
) -> None:
    user = model.adapt(answers)
    same(model.withdraw(user, [answers[0]] * 2), model.withdraw(user, [answers[0]]))
    turned = Comparison(answers[1].prompt, answers[1].rejected, answers[1].chosen)
    with pytest.raises(PosteriorError, match="answer 2 of 2 to withdraw was never given"):
        model.withdraw(user, [answers[0], turned])


def test_two_devices_are_combined(model: PersonalRewardModel, answers: list[Comparison]) -> None:
    shared = model.adapt(answers[:2])
    phone = model.withdraw(model.adapt(answers[2:4], shared), [answers[0]])
    laptop = model.adapt(answers[4:], shared)
    both = model.combine(phone, laptop)
    same(both, model.adapt(answers[1:]))
    assert torch.equal(both.posterior.mean, model.combine(laptop, phone).posterior.mean)
    assert both.to_json() == model.combine(laptop, phone).to_json()
    same(model.adapt(answers[:1], both), model.adapt(answers))


def test_contradictions_are_counted_from_the_answers(
    model: PersonalRewardModel, answers: list[Comparison]
) -> None:
    turned = [Comparison(a.prompt, a.rejected, a.chosen) for a in answers[:2]]
    user = model.adapt(turned, model.adapt(answers))
    assert user.contradictory == model.adapt([*turned, *answers]).contradictory == 4
    assert model.withdraw(user, turned[:1]).contradictory == 2
    assert model.combine(model.adapt(answers), model.adapt(turned)).contradictory == 4


def test_ageing_counts_answers_by_their_age(
    model: PersonalRewardModel, answers: list[Comparison]
) -> None:
    times = [0.0, 0.0, 3 * DAY, 3 * DAY, 9 * DAY, 9 * DAY]
    user = model.adapt(answers, times=times)
    aged = model.age(user, 3 * DAY)
    weight = torch.tensor([0.125, 0.125, 0.25, 0.25, 1.0, 1.0])
    weighted = Evidence(user.evidence, torch.tensor([0, 6]), weight)
    torch.testing.assert_close(aged.posterior.mean, model.method.posterior(weighted).mean)
    assert aged.summary()["ageing"] == {"half_life": 3 * DAY, "now": 9 * DAY}
    assert user.ageing is None
    same(model.age(aged, None), user)
    later = model.age(user, DAY, now=100 * DAY)  # beyond thirty half-lives nothing is left
    torch.testing.assert_close(later.posterior.mean, model.new_user().posterior.mean)


def test_an_aged_profile_ages_on(model: PersonalRewardModel, answers: list[Comparison]) -> None:
    """Continued, taken back, combined and read again, in whatever order it comes."""
    old = model.age(model.adapt(answers[:3], times=0.0), DAY)
    both = model.adapt(answers[3:], old, times=2 * DAY)
    at_once = model.age(model.adapt(answers, times=[0.0] * 3 + [2 * DAY] * 3), DAY)
    same(both, at_once)
    assert both.ageing == at_once.ageing
    new = model.age(model.adapt(answers[3:], times=2 * DAY), DAY)
    same(model.combine(new, old), at_once)
    same(model.withdraw(both, answers[3:]), model.age(old, DAY, now=2 * DAY))
    same(model.user_from_json(json.loads(json.dumps(both.to_json()))), both)


def test_an_answer_without_a_time_cannot_age(
    model: PersonalRewardModel, answers: list[Comparison]
) -> None:
    some = model.adapt(answers[:2], model.adapt(answers[2:], times=0.0))
    with pytest.raises(PosteriorError, match="2 of 6 answers have no time"):
        model.age(some, DAY)
    timed = model.adapt(answers, some, times=DAY)  # given again, they have one
    assert [answer.time for answer in timed.answers] == [DAY] * 6
    with pytest.raises(SettingsError, match="half-life"):
        model.age(timed, -DAY)


@pytest.mark.parametrize("times", [[1.0], [1.0] * 7, [float("nan")] * 6])
def test_times_that_do_not_fit_are_refused(
    times: list[float], world: Planted, answers: list[Comparison]
) -> None:
    model = made("pref", world, {"steps": 2})
    with pytest.raises(DataError, match=r"times for 6 answers|not finite"):
        model.adapt(answers, times=times)


def test_timestamps_of_data_are_taken(model: PersonalRewardModel, world: Planted) -> None:
    own = world.data.select(world.data.user == 0)
    stamped: PreferenceData = replace(own, timestamp=1e9 + 10.0 * torch.arange(len(own)).numpy())
    user = model.adapt(stamped)
    times = [answer.time for answer in user.answers]
    assert min(t for t in times if t is not None) >= 1e9
    assert max(t for t in times if t is not None) == 1e9 + 10.0 * (len(own) - 1)
    assert all(answer.time is None for answer in model.adapt(own).answers)


def test_json_in_memory_is_the_file(
    model: PersonalRewardModel, answers: list[Comparison], tmp_path: Path
) -> None:
    user = model.withdraw(model.adapt(answers, times=5.0), answers[:1])
    user.save(tmp_path / "user.json")
    assert json.loads((tmp_path / "user.json").read_text()) == user.to_json()
    assert user.to_json()["format"] == 3
    assert user.to_json()["model"] == model.identity
    again = model.user_from_json(user.to_json())
    assert again.to_json() == user.to_json()
    assert again.answers == user.answers
    assert model.load_user(tmp_path / "user.json").to_json() == user.to_json()
    broken = user.to_json()
    broken["answers"] = 7
    with pytest.raises(PosteriorError, match=r"the user's profile is damaged: .*checksum"):
        model.user_from_json(broken)


def test_a_profile_of_another_model_is_refused_everywhere(
    model: PersonalRewardModel, world: Planted, answers: list[Comparison]
) -> None:
    other = made("bt", world, {"steps": 3})
    theirs = other.adapt(answers, times=0.0)
    mine = model.adapt(answers, times=0.0)
    refusals: list[Callable[[], UserProfile]] = [
        lambda: model.withdraw(theirs, answers[:1]),
        lambda: model.age(theirs, DAY),
        lambda: model.combine(mine, theirs),
        lambda: model.combine(theirs, mine),
        lambda: model.adapt(answers, theirs),
    ]
    for refused in refusals:
        with pytest.raises(PosteriorError, match="another model"):
            refused()
    with pytest.raises(PosteriorError, match="belongs to model"):
        model.user_from_json(theirs.to_json())
