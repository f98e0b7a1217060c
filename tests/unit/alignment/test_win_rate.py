"""Win rates: per user first, ties one half, each pair judged once, intervals over users."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from palate import PersonalRewardModel, PreferenceData
from palate.alignment.baselines import TestedUser
from palate.alignment.endpoint_retry import RefusedError
from palate.alignment.judge import Panel
from palate.alignment.judge_questions import JudgeSettings
from palate.alignment.rule_world import RuleWorldJudge
from palate.alignment.spending import Tokens
from palate.alignment.win_rate import measure_win_rates
from palate.alignment.win_rate_figures import WinRate
from palate.alignment.win_rate_judges import PanelOfModels, TrueRewards
from palate.alignment.win_rate_run import WinRateExperiment, WinRateSettings
from palate.alignment.win_rate_users import (
    Profile,
    profiles_of_tastes,
    read_profiles,
    read_tastes,
    users_of,
)
from palate.data.benchmarks.role_play import Person, RolePlay
from palate.data.synthetic import AttributesConfig, make_attributes_world
from palate.data.synthetic.files import write_world
from palate.errors import DataError, PolicyError, SettingsError
from palate.settings import build
from tests import toy as world
from tests.unit.alignment.test_baselines import toy_text_model
from tests.unit.alignment.test_judge import Player, shorter
from tests.unit.alignment.toy_policy import CampJudge, ToyPolicy, prompts, users


@dataclass
class Says:
    """A contender that answers by a function of user and prompt."""

    name: str
    words: Callable[[str, str], str]

    def answer(self, user: TestedUser, prompt: str) -> str:
        return self.words(user.user_id, prompt)


@dataclass
class Longer:
    """A judge that prefers the longer answer."""

    name: str = "longer"
    asked: int = 0

    def preferences(self, plays: list[RolePlay], progress: object = None) -> list[float | None]:
        self.asked += len(plays)
        sizes = [(len(play.response_a), len(play.response_b)) for play in plays]
        return [0.5 if a == b else float(a > b) for a, b in sizes]

    def report(self) -> dict[str, Any]:
        return {}


def people(count: int = 4) -> list[TestedUser]:
    return [TestedUser(f"user {i}", ()) for i in range(count)]


LONG, SHORT = (
    Says("long", lambda user, prompt: prompt * 3),
    Says("short", lambda user, prompt: prompt),
)


# -- one win rate -----------------------------------------------------------------------------


def rate(users: list[int], won: list[float | None]) -> WinRate:
    return WinRate.of(("a", "b"), users, won, np.random.default_rng(0))


def test_the_mean_is_over_users_not_over_pairs() -> None:
    one = rate([0, 0, 0, 1], [1, 1, 1, 0])
    assert one.mean == 0.5
    assert (one.users, one.pairs, one.ties, one.missing) == (2, 4, 0, 0)


def test_ties_are_one_half_and_what_was_not_judged_is_left_out() -> None:
    one = rate([0, 0, 1, 2], [1, 0.5, None, None])
    assert one.mean == 0.75
    assert (one.users, one.pairs, one.ties, one.missing) == (1, 2, 1, 2)
    assert one.low is None


def test_nothing_judged_is_no_number() -> None:
    one = rate([0, 1], [None, None])
    assert np.isnan(one.mean)
    assert one.to_json()["mean"] is None
    assert json.dumps(one.to_json(), allow_nan=False)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    covered = 0
    for _ in range(300):
        tastes = generator.beta(6, 4, 60)
        won = [float(value) for value in generator.random(60 * 5) < np.repeat(tastes, 5)]
        one = WinRate.of(("a", "b"), np.repeat(np.arange(60), 5).tolist(), won, generator)
        assert one.low is not None
        assert one.high is not None
        covered += one.low <= 0.6 <= one.high
    assert 0.91 <= covered / 300 <= 0.985


# -- all of them ------------------------------------------------------------------------------


def test_each_against_each_and_the_others_against_the_first() -> None:
    middle = Says("middle", lambda user, prompt: prompt * 2)
    found = measure_win_rates(Longer(), people(), prompts(), [LONG], [middle, SHORT])
    assert [(one.contender, one.against, one.mean) for one in found.rates] == [
        ("long", "middle", 1),
        ("long", "short", 1),
        ("short", "middle", 0),
    ]
    assert found.judge == "longer"
    assert json.dumps(found.to_json())


def test_each_user_meets_some_prompts_always_the_same() -> None:
    met: list[tuple[str, str]] = []

    def note(user: str, prompt: str) -> str:
        met.append((user, prompt))
        return prompt

    for _ in range(2):
        measure_win_rates(Longer(), people(), prompts(), [Says("n", note)], [LONG], each=3, seed=5)
    assert len(met) == 2 * 4 * 3
    assert met[:12] == met[12:]
    assert len(set(met)) == 12
    assert len({prompt for _, prompt in met}) > 3


def test_the_same_answer_is_a_tie_that_nobody_is_asked_about() -> None:
    judge = Longer()
    found = measure_win_rates(judge, people(), prompts(), [SHORT], [Says("also", SHORT.words)])
    assert judge.asked == 0
    assert found.rates[0].mean == 0.5
    assert found.rates[0].ties == 40


def test_a_pair_that_several_lead_to_is_judged_once() -> None:
    judge = Longer()
    twins = [LONG, Says("twin", LONG.words)]
    found = measure_win_rates(judge, people(), prompts(), twins, [SHORT])
    assert judge.asked == 4 * 10
    assert [one.mean for one in found.rates] == [1, 1]


def test_answers_that_were_not_given_are_counted() -> None:
    def fail(user: str, prompt: str) -> str:
        if prompt == "prompt 3":
            raise PolicyError("nothing to say")
        return prompt * 2

    found = measure_win_rates(Longer(), people(), prompts(), [Says("f", fail)], [SHORT], each=12)
    assert found.unanswered == {"nothing to say": 4}
    assert found.rates[0].pairs == 4 * 11


def test_a_refusal_ends_the_run() -> None:
    def refuse(user: str, prompt: str) -> str:
        raise RefusedError("no such key")

    with pytest.raises(RefusedError):
        measure_win_rates(Longer(), people(), prompts(), [Says("r", refuse)], [SHORT])


def test_pairs_that_were_not_judged_are_counted() -> None:
    found = measure_win_rates(CampJudge(silent=True), people(), prompts(), [LONG], [SHORT])
    assert (found.rates[0].pairs, found.rates[0].missing) == (0, 40)


@pytest.mark.parametrize(("who", "what"), [([], ["why?"]), (["user"], [])])
def test_nobody_or_nothing(who: list[str], what: list[str]) -> None:
    with pytest.raises(DataError, match="users and prompts"):
        measure_win_rates(Longer(), [TestedUser(u, ()) for u in who], what, [LONG], [SHORT])


# -- judges -----------------------------------------------------------------------------------


def test_a_panel_reads_profiles_and_accounts_for_its_questions() -> None:
    told: list[str] = []
    panel = Panel([Player(shorter)], JudgeSettings(concurrency=1))
    judge = PanelOfModels(panel, told.append)
    plays = [RolePlay(Person("u", "Likes it short."), "why?", "so", "because of that")]
    assert judge.preferences(plays) == [1]
    assert told == [
        "judging: 2 questions to ask (0 are answered); at most 0 tokens read and 0 written, cost "
        "at most 0.0000"
    ]
    assert judge.report()["account"]["answered"] == 2
    with pytest.raises(DataError, match=r"1 users have no profile .* 'v'"):
        judge.preferences([RolePlay(Person("v", " "), "why?", "so", "because")])


def test_true_rewards_judge_the_worlds_own_texts() -> None:
    made = make_attributes_world(AttributesConfig(users=84, comparisons=5, scale=float("inf")))
    weights = {user: made.weights_of(user) for user in made.user_ids}
    judge = TrueRewards(RuleWorldJudge(weights))
    rows = made.rows[:200]
    plays = [
        RolePlay(Person(row["user_id"], ""), row["prompt"], row["chosen"], row["rejected"])
        for row in rows
    ]
    assert np.mean([float(value or 0) for value in judge.preferences(plays)]) > 0.97
    assert judge.report() == {}


# -- the experiment ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def models(
    tmp_path_factory: pytest.TempPathFactory, toy: PreferenceData
) -> tuple[PersonalRewardModel, PersonalRewardModel]:
    folder = tmp_path_factory.mktemp
    return toy_text_model(folder("vrf"), toy, "vrf"), toy_text_model(folder("bt"), toy, "bt")


Models = tuple[PersonalRewardModel, PersonalRewardModel]


def test_knowing_the_user_wins(models: Models) -> None:
    vrf, bt = models
    settings = WinRateSettings(answers=(0, 20), candidates=8, prompts=12)
    experiment = WinRateExperiment(vrf, ToyPolicy(), users(10), prompts(), settings, bt)
    assert experiment.announce() == (Tokens(), 0.0)
    found = experiment.run(CampJudge())
    rates = {(one.contender, one.against): one for one in found.rates}
    known = rates["best-of-8, 20 answers", "plain"]
    assert known.low is not None
    assert known.low > 0.7
    assert rates["best-of-8, 20 answers", "bt best-of-8"].mean > 0.6
    assert known.mean > rates["best-of-8, 0 answers", "plain"].mean + 0.1
    assert experiment.too_few == 0


def test_users_with_too_few_answers_are_counted(models: Models) -> None:
    few = replace(users(1)[0], user_id="few", answers=users(1)[0].answers[:3])
    settings = WinRateSettings(answers=(5,), candidates=2, users=2)
    experiment = WinRateExperiment(models[0], ToyPolicy(), [few, *users(4)], prompts(), settings)
    assert (experiment.too_few, len(experiment.users)) == (1, 2)
    with pytest.raises(DataError, match="no user gave 5 answers"):
        WinRateExperiment(models[0], ToyPolicy(), [few], prompts(), settings)


def test_system_prompts_take_part_where_everybody_has_one(models: Models) -> None:
    settings = WinRateSettings(answers=(5,), candidates=2)
    some = [replace(user, system="Be kind.") for user in users(3)]
    with_prompts = WinRateExperiment(models[0], ToyPolicy(), some, prompts(), settings)
    assert [one.name for one in with_prompts.others] == ["plain", "system prompt"]
    some[0] = replace(some[0], system=None)
    without = WinRateExperiment(models[0], ToyPolicy(), some, prompts(), settings)
    assert [one.name for one in without.others] == ["plain"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"answers": []}, "answers is"),
        ({"answers": [-1]}, "answers is"),
        ({"candidates": 0}, "candidates is 0"),
        ({"prompts": 0}, "prompts is 0"),
        ({"temperature": 3.0}, "temperature is 3"),
        ({"users": -1}, "users -1"),
        ({"choose": "worst"}, "choose"),
        ({"answer": 5}, "unknown setting answer"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        build(WinRateSettings, settings)


# -- users from files -------------------------------------------------------------------------


def test_the_users_of_some_comparisons() -> None:
    data = PreferenceData.load(world.rows(users=3, each=4))
    known = {"user 1": Profile("Likes it short.", "Be brief.")}
    found = users_of(data, known)
    assert [user.user_id for user in found] == ["user 0", "user 1", "user 2"]
    assert [one for user in found for one in user.answers] == list(data)
    assert (found[1].profile, found[1].system) == ("Likes it short.", "Be brief.")
    assert (found[0].profile, found[0].system) == ("", None)


def test_tastes_and_their_words(tmp_path: Path) -> None:
    write_world(tmp_path / "world", users=84, comparisons=5, seed=0)
    tastes = read_tastes(tmp_path / "world" / "truth.json")
    assert len(tastes) == 85
    found = profiles_of_tastes(tastes)
    truth = json.loads((tmp_path / "world" / "truth.json").read_text(encoding="utf-8"))
    liked = truth["alice"]["taste"].removeprefix("likes ").removesuffix(" answers")
    assert found["alice"].profile == f"Likes answers that are {liked}."
    assert f"Let your answer be {liked}," in str(found["alice"].system)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"users": {}}',
        '{"users": {"u": [1]}, "alice": {"weights": [1]}}',
        '{"users": {"u": "x"}, "alice": {"weights": [0, 0, 0, 0, 0, 1, 1]}}',
    ],
)
def test_a_truth_that_holds_none(tmp_path: Path, content: str) -> None:
    path = tmp_path / "truth.json"
    path.write_text(content)
    with pytest.raises(DataError, match=r"truth.json: holds no tastes"):
        read_tastes(path)


def test_no_truth_at_all(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no tastes"):
        read_tastes(tmp_path / "none.json")


def test_a_taste_of_other_than_two_traits() -> None:
    with pytest.raises(DataError, match="expected two traits"):
        profiles_of_tastes({"u": [1, 0, 0, 0, 0, 0, 0]})


def test_profiles(tmp_path: Path) -> None:
    path = tmp_path / "people.jsonl"
    rows = [{"user_id": "a", "profile": "A."}, {"user_id": 2, "profile": "B.", "system": "Hm."}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert read_profiles(path) == {"a": Profile("A."), "2": Profile("B.", "Hm.")}


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{"user_id": "a"}], "'profile': column is missing"),
        ([{"user_id": "a", "profile": " "}], "the text is empty"),
        ([{"user_id": "a", "profile": "A."}] * 2, "row 2, field 'user_id': 'a' has a profile"),
    ],
)
def test_profiles_that_cannot_be(tmp_path: Path, rows: list[Any], words: str) -> None:
    path = tmp_path / "people.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(DataError, match=words):
        read_profiles(path)
