"""Who answers: plain, under the user's own system prompt, best-of-N for one or for all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from palate import PersonalRewardModel, PreferenceData
from palate.alignment.baselines import (
    BestOfN,
    CandidateRewards,
    OwnSystemPrompt,
    Plain,
    Sampler,
    contenders,
)
from palate.alignment.endpoint_retry import RefusedError
from palate.alignment.policy import Request, Sampled
from palate.errors import DataError, PolicyError
from palate.progress import Silent
from tests import toy as world
from tests.unit.alignment.toy_policy import ToyPolicy, prompts, users

FOUR = Request("", count=4)


def toy_text_model(folder: Path, toy: PreferenceData, method: str) -> PersonalRewardModel:
    """Trained on the toy comparisons with a backbone that knows every text by heart."""
    backbone = world.make_backbone(folder / "backbone")
    texts = [
        (f"prompt {number}", f"response {i} to {number}")
        for number in range(world.PROMPTS)
        for i in range(world.RESPONSES)
    ]
    world.fill_cache(folder / "cache", backbone, texts)
    return PersonalRewardModel.train(
        toy, method=method, backbone=str(backbone), cache=folder / "cache", settings=world.FEW_STEPS
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, toy: PreferenceData) -> PersonalRewardModel:
    return toy_text_model(tmp_path_factory.mktemp("vrf"), toy, "vrf")


@pytest.fixture(scope="module")
def bt(tmp_path_factory: pytest.TempPathFactory, toy: PreferenceData) -> PersonalRewardModel:
    return toy_text_model(tmp_path_factory.mktemp("bt"), toy, "bt")


def test_candidates_are_drawn_once_and_shared() -> None:
    policy = ToyPolicy()
    sampler = Sampler(policy, FOUR)
    first = sampler.candidates("prompt 3")
    assert sampler.candidates("prompt 3") is first
    assert 1 <= len(first) <= 4
    assert len(set(first)) == len(first)
    assert len(policy.asked) == 1


def test_a_plain_answer_is_a_draw_of_its_own() -> None:
    policy = ToyPolicy()
    sampler = Sampler(policy, FOUR)
    plain = Plain(sampler)
    answers = [plain.answer(user, "prompt 3") for user in users()]
    assert len(set(answers)) == 1
    sampler.candidates("prompt 3")
    one, several = policy.asked
    assert one.count == 1
    assert one.seed not in range(several.seed, several.seed + 1000)


def test_the_users_own_system_prompt() -> None:
    policy = ToyPolicy()
    contender = OwnSystemPrompt(Sampler(policy, FOUR))
    alice, bob, carol = (replace(users()[0], system=words) for words in ("Brief.", "Long.", None))
    contender.answer(alice, "prompt 3")
    contender.answer(bob, "prompt 3")
    contender.answer(alice, "prompt 3")
    assert [one.system for one in policy.asked] == ["Brief.", "Long."]
    with pytest.raises(DataError, match="no system prompt"):
        contender.answer(carol, "prompt 3")


def test_best_of_n_is_the_candidate_of_the_highest_reward(model: PersonalRewardModel) -> None:
    sampler = Sampler(ToyPolicy(), FOUR)
    contender = BestOfN("ours", CandidateRewards(sampler, model), answers=10)
    for user in users(2):
        profile = model.adapt(list(user.answers[:10]))
        texts = sampler.candidates("prompt 5")
        assert (
            contender.answer(user, "prompt 5") == model.rank("prompt 5", texts, profile).best.text
        )


def test_two_camps_are_answered_differently(model: PersonalRewardModel) -> None:
    contender = BestOfN(
        "ours", CandidateRewards(Sampler(ToyPolicy(), replace(FOUR, count=16)), model), answers=20
    )
    one, other = users(2)
    different = sum(contender.answer(one, p) != contender.answer(other, p) for p in prompts())
    assert different >= 0.7 * len(prompts())


def test_bt_answers_everybody_alike(bt: PersonalRewardModel) -> None:
    contender = BestOfN("bt", CandidateRewards(Sampler(ToyPolicy(), FOUR), bt))
    assert len({contender.answer(user, "prompt 5") for user in users()}) == 1


def test_too_few_answers_are_an_error(model: PersonalRewardModel) -> None:
    contender = BestOfN("ours", CandidateRewards(Sampler(ToyPolicy(), FOUR), model), answers=21)
    with pytest.raises(DataError, match="gave 20 answers; 21"):
        contender.answer(users()[0], "prompt 5")


def test_no_answers_at_all_are_the_population(model: PersonalRewardModel) -> None:
    sampler = Sampler(ToyPolicy(), FOUR)
    nobody = BestOfN("ours", CandidateRewards(sampler, model), answers=0).answer(
        users()[0], "prompt 5"
    )
    texts = sampler.candidates("prompt 5")
    assert nobody == model.rank("prompt 5", texts).best.text


def test_who_takes_part(model: PersonalRewardModel, bt: PersonalRewardModel) -> None:
    sampler = Sampler(ToyPolicy(), FOUR)
    personal, others = contenders(sampler, model, [5, 10], bt=bt, system=True)
    assert [one.name for one in personal] == ["best-of-4, 5 answers", "best-of-4, 10 answers"]
    assert [one.name for one in others] == ["plain", "system prompt", "bt best-of-4"]
    _, plain = contenders(sampler, model, [5])
    assert [one.name for one in plain] == ["plain"]


DRAWS = [(prompt, None) for prompt in prompts()]


@pytest.mark.parametrize("concurrency", [1, 4])
def test_filling_draws_everything_and_passes_over_failures(concurrency: int) -> None:
    policy = ToyPolicy(mute=frozenset(["prompt 3"]))
    sampler = Sampler(policy, FOUR)
    sampler.fill([*DRAWS, ("prompt 4", "Be kind.")], concurrency, Silent())
    sent = len(policy.asked)
    assert sent == 2 * len(prompts()) - 1 + 1
    sampler.candidates("prompt 4")
    sampler.plain("prompt 4", "Be kind.")
    assert len(policy.asked) == sent
    with pytest.raises(PolicyError):
        sampler.candidates("prompt 3")


def test_what_is_drawn_is_what_was_said_to_be_asked() -> None:
    policy = ToyPolicy()
    sampler = Sampler(policy, FOUR)
    draws = [*DRAWS, ("prompt 4", "Be kind.")]
    sampler.fill(draws, 1, Silent())
    said = sampler.requests(draws)
    assert len(said) == len(policy.asked)
    assert {repr(one) for one in said} == {repr(one) for one in policy.asked}


def test_filling_ends_where_everything_is_refused() -> None:
    class Refusing(ToyPolicy):
        def sample(self, request: Request) -> Sampled:
            self.asked.append(request)
            raise RefusedError("no such key")

    policy = Refusing()
    with pytest.raises(RefusedError):
        Sampler(policy, FOUR).fill(DRAWS, 1, Silent())
    assert len(policy.asked) == 1
