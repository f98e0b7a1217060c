"""What every method promises, over the registry."""

import inspect
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import palate.methods
from palate.data.pairs import pairs_of_users
from palate.data.splits import SplitSettings, make_split
from palate.errors import CannotRunError
from palate.methods import METHODS, Method
from palate.methods.layers import dropout
from palate.model import PersonalRewardModel
from palate.settings import build
from palate.storage import method_bytes
from palate.training import fit
from palate.types import Evidence, PairBatch, UserPosterior
from tests.contract.cases import CASES, cases, settings_of, table, trained, width_of
from tests.contract.conftest import (
    Planted,
    plant,
    plant_angles,
    plant_convex,
    plant_factors,
    plant_ideal_points,
)


def states(case: str, count: int, seed: int = 0) -> tuple[Tensor, ...]:
    """Hidden states of answers: chosen, rejected, and prompts for a case that reads them."""
    generator = torch.Generator().manual_seed(seed)
    kinds = 3 if CASES[case][1].get("variant") == "B" else 2
    return torch.randn(kinds, count, width_of(case), generator=generator).unbind()


def some_pairs(case: str, count: int, seed: int = 0) -> PairBatch:
    return PairBatch.of_pairs(*states(case, count, seed))


def of_users(*answers: tuple[Tensor, ...]) -> PairBatch:
    """Several users' comparisons in one batch."""
    counts = torch.tensor([0, *(len(one[0]) for one in answers)])
    batch = PairBatch.of_pairs(*(torch.cat(kind) for kind in zip(*answers, strict=True)))
    return PairBatch(
        batch.features, batch.chosen, batch.rejected, counts.cumsum(0), prompt=batch.prompt
    )


def close(first: UserPosterior, second: UserPosterior, rtol: float = 1e-3) -> None:
    torch.testing.assert_close(first.mean, second.mean, rtol=rtol, atol=1e-4)
    assert (first.variance is None) == (second.variance is None)
    if first.variance is not None:
        torch.testing.assert_close(first.variance, second.variance, rtol=rtol, atol=1e-5)


def method_classes() -> Iterator[type[Method]]:
    for module in pkgutil.iter_modules([str(Path(palate.methods.__file__).parent)]):
        for _, member in inspect.getmembers(import_module(f"palate.methods.{module.name}")):
            if inspect.isclass(member) and issubclass(member, Method):
                yield member


def test_no_method_escapes_the_registry() -> None:
    concrete = {method for method in method_classes() if not inspect.isabstract(method)}
    assert concrete == set(METHODS.values())
    assert {name for name, _ in CASES.values()} == set(METHODS)
    for name, method in METHODS.items():
        assert method.name == name
        assert method.paper
        assert isinstance(method.personal, bool)
        assert isinstance(method.gives_uncertainty, bool)


@cases
def test_one_seed_gives_the_same_bytes(case: str, opposed: Planted) -> None:
    once = trained(case, opposed, steps=25)
    torch.manual_seed(123)  # a global stream that nothing may draw from
    again = trained(case, opposed, steps=25)
    assert method_bytes(again.method) == method_bytes(once.method)
    other = trained(case, opposed, seed=1, steps=25)
    assert method_bytes(other.method) != method_bytes(once.method)


@cases
def test_nothing_draws_from_the_global_stream(case: str, opposed: Planted) -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    trained(case, opposed, steps=5)
    assert torch.equal(torch.random.get_rng_state(), before)


@cases
def test_saving_and_loading_change_nothing(
    case: str, models: dict[str, PersonalRewardModel], tmp_path: Path
) -> None:
    model = models[case]
    model.save(tmp_path / "run")
    loaded = PersonalRewardModel.load(tmp_path / "run")
    assert loaded.identity == model.identity
    assert loaded.method.settings == model.method.settings
    answers, (candidates, *_) = states(case, 7), states(case, 5, seed=1)
    prompt = answers[2][0] if len(answers) > 2 else None
    ranking = model.rank(prompt, candidates, model.adapt(answers))
    assert loaded.rank(prompt, candidates, loaded.adapt(answers)) == ranking


@cases
def test_nothing_of_a_trained_user_is_kept_by_the_method(
    case: str, opposed: Planted, models: dict[str, PersonalRewardModel]
) -> None:
    users = len(opposed.data.user_ids)
    shapes = [tuple(value.shape) for value in models[case].method.state_dict().values()]
    assert not [shape for shape in shapes if shape and shape[0] in (users, users // 2)]


@cases
def test_order_of_answers_does_not_matter(
    case: str, models: dict[str, PersonalRewardModel]
) -> None:
    method = models[case].method
    answers = states(case, 9)
    shuffled = torch.randperm(9, generator=torch.Generator().manual_seed(3))
    first = method.infer(PairBatch.of_pairs(*answers))
    close(first, method.infer(PairBatch.of_pairs(*(kind[shuffled] for kind in answers))))


@cases
def test_a_user_is_inferred_alike_alone_and_among_others(
    case: str, models: dict[str, PersonalRewardModel]
) -> None:
    method = models[case].method
    alice, bob, nobody = states(case, 4), states(case, 6, seed=1), states(case, 0)
    together = method.infer(of_users(alice, nobody, bob))
    for row, answers in enumerate((alice, nobody, bob)):
        close(together[row : row + 1], method.infer(PairBatch.of_pairs(*answers)))
        assert together.answers[row] == len(answers[0])


@cases
def test_swapping_chosen_and_rejected_negates_the_margin(
    case: str, models: dict[str, PersonalRewardModel]
) -> None:
    method = models[case].method
    posterior = method.infer(some_pairs(case, 5))
    chosen, rejected, *prompt = states(case, 11, seed=2)
    forward = method.margins(posterior, PairBatch.of_pairs(chosen, rejected, *prompt))
    backward = method.margins(posterior, PairBatch.of_pairs(rejected, chosen, *prompt))
    torch.testing.assert_close(forward.mean, -backward.mean, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(forward.logit, -backward.logit, rtol=1e-4, atol=1e-5)


@cases
def test_margins_are_differences_of_joint_rewards(
    case: str, models: dict[str, PersonalRewardModel]
) -> None:
    """Mean and variance of a pair's margin from the rewards' joint distribution."""
    method = models[case].method
    posterior = method.infer(some_pairs(case, 5))
    chosen, rejected, *prompt = states(case, 1, seed=4)
    margin = method.margins(posterior, PairBatch.of_pairs(chosen, rejected, *prompt))
    asked = prompt[0][0] if prompt else None
    rewards = method.reward(posterior, torch.cat([chosen, rejected]), asked)
    torch.testing.assert_close(
        margin.mean[0], rewards.mean[0] - rewards.mean[1], rtol=1e-4, atol=1e-5
    )
    if rewards.factor is not None:
        assert margin.variance is not None
        joint = (rewards.factor[0] - rewards.factor[1]).square().sum()
        torch.testing.assert_close(margin.variance[0], joint, rtol=1e-3, atol=1e-6)


@cases
def test_answers_added_one_by_one_equal_all_at_once(
    case: str, models: dict[str, PersonalRewardModel]
) -> None:
    model = models[case]
    answers = states(case, 8)
    user = model.new_user()
    for i in range(8):
        user = model.adapt(tuple(kind[i : i + 1] for kind in answers), user)
    at_once = model.adapt(answers)
    assert user.posterior.answers.tolist() == [8]
    close(user.posterior, at_once.posterior)


@cases
def test_an_answer_is_its_row_of_evidence(
    case: str, models: dict[str, PersonalRewardModel]
) -> None:
    """A posterior is a function of the rows: without one, it is that of the other answers."""
    method = models[case].method
    answers = states(case, 6)
    rows = method.evidence(PairBatch.of_pairs(*answers))
    assert len(rows) == 6
    without = method.posterior(Evidence(rows[:5], torch.tensor([0, 5])))
    close(without, method.infer(PairBatch.of_pairs(*(kind[:5] for kind in answers))))


@cases
def test_no_answers_give_everybody_the_same_model(
    case: str, models: dict[str, PersonalRewardModel]
) -> None:
    method = models[case].method
    posterior = method.infer(of_users(states(case, 0), states(case, 0)))
    assert torch.equal(posterior.mean[0], posterior.mean[1])
    assert torch.equal(posterior.answers, torch.zeros(2, dtype=torch.long))
    assert bool(torch.isfinite(posterior.mean).all())


@cases
def test_declared_inabilities_are_honoured(
    case: str, models: dict[str, PersonalRewardModel]
) -> None:
    model = models[case]
    answers = states(case, 6)
    user = model.adapt(answers)
    prompt = answers[2][0] if len(answers) > 2 else None
    ranking = model.rank(prompt, states(case, 4, seed=1)[0], user)
    measured = [candidate.sd for candidate in ranking.candidates]
    if model.method.gives_uncertainty:
        assert user.uncertainty is not None
        assert all(sd is not None and sd > 0 for sd in measured)
    else:
        assert user.uncertainty is None
        assert user.posterior.variance is None
        assert measured == [None] * 4
    other = model.adapt(states(case, 6, seed=9))
    assert torch.equal(user.posterior.mean, other.posterior.mean) != model.method.personal


@cases
def test_more_answers_make_less_uncertain(
    case: str, models: dict[str, PersonalRewardModel]
) -> None:
    model = models[case]
    if not model.method.gives_uncertainty or case == "vpl":
        return  # vpl's encoder may give any variance
    few, many = (model.adapt(states(case, n)).uncertainty for n in (2, 60))
    assert few is not None
    assert many is not None
    assert many < few


#: Where unregularised weights of many bases would fit the noise of a user's answers: two.
FEW_BASES = {"lore": {"bases": 2}, "pal": {"hidden": 4, "dimensions": 8, "learning_rate": 0.03}}


@pytest.mark.parametrize("case", [case for case in CASES if case not in ("per_user", "pal-B")])
def test_a_world_without_differences_is_recovered(case: str, alike: Planted) -> None:
    model = PersonalRewardModel.train(
        alike.data,
        method=CASES[case][0],
        features=table(case, alike),
        settings=settings_of(case, weight_decay=1.0) | FEW_BASES.get(case, {}),
    )
    figures = model.evaluate(alike.data, features=table(case, alike))
    seen, unseen = alike.true_accuracy()
    assert figures.seen.accuracy.mean > seen - 0.04
    assert figures.unseen.accuracy.mean > unseen - 0.04


def two_axes() -> Planted:
    """Opposed users, seen through the two features that matter: few enough for a user alone."""
    world = plant(personal=True)
    return replace(world, features=world.features[:, :2])


#: A world made by each personal method's own assumptions, and settings that fit its size.
OWN_WORLDS: dict[str, tuple[Callable[[], Planted], dict[str, Any]]] = {
    "vrf": (lambda: plant(personal=True), {}),
    "brf": (lambda: plant(personal=True), {}),
    "vpl": (lambda: plant(personal=True), {}),
    "per_user": (two_axes, {"ridge": 1.0}),
    "pref": (plant_factors, {"bases": 3}),
    "lore": (plant_convex, {"bases": 3}),
    "pal": (plant_ideal_points, {"hidden": 4, "dimensions": 8, "learning_rate": 0.03}),
    "pal-B": (plant_angles, {"hidden": 4, "dimensions": 8, "learning_rate": 0.01, "steps": 1200}),
}


@pytest.mark.parametrize("case", OWN_WORLDS)
def test_a_world_of_the_methods_own_assumptions_is_recovered(case: str) -> None:
    """To near the true rewards' accuracy; 20 answers of an unseen user leave a little more."""
    make, settings = OWN_WORLDS[case]
    world = make()
    model = PersonalRewardModel.train(
        world.data,
        method=CASES[case][0],
        features=table(case, world),
        settings=settings_of(case, weight_decay=0.3) | settings,
    )
    figures = model.evaluate(world.data, features=table(case, world))
    seen, unseen = world.true_accuracy()
    assert figures.seen.accuracy.mean > seen - 0.04
    assert figures.unseen.accuracy.mean > unseen - 0.055
    none, three, twenty = (figures.few_shot[n].accuracy.mean for n in (0, 3, 20))
    assert twenty > max(none, three) + 0.01  # three answers alone may say less than the population


def test_every_personal_method_has_a_world_of_its_own() -> None:
    personal = {name for name, method in METHODS.items() if method.personal}
    assert personal <= set(OWN_WORLDS)


def test_one_reward_cannot_tell_opposed_users_apart(
    opposed: Planted, models: dict[str, PersonalRewardModel]
) -> None:
    bt = models["bt"].evaluate(opposed.data, features=opposed.features)
    assert bt.unseen.accuracy.mean < 0.65


TRAINED = [case for case in CASES if case not in ("ref", "per_user")]


@pytest.mark.parametrize("case", [case for case in TRAINED if not case.endswith("-moments")])
def test_weights_of_comparisons_are_used(case: str, opposed: Planted) -> None:
    """Four answers in ten are turned round: with hardly any weight they hardly harm."""
    name, _ = CASES[case]
    split = make_split(opposed.data, SplitSettings())
    users = torch.unique(torch.from_numpy(opposed.data.user[split.train])).numpy()
    pairs = pairs_of_users(opposed.data, table(case, opposed), split.train, users)
    wrong = torch.rand(len(pairs), generator=torch.Generator().manual_seed(0)) < 0.4
    turned = replace(
        pairs,
        chosen=torch.where(wrong, pairs.rejected, pairs.chosen),
        rejected=torch.where(wrong, pairs.chosen, pairs.rejected),
    )
    weight = torch.where(wrong, 0.001, 1.0)
    settings = build(METHODS[name].settings_class, settings_of(case, steps=150, weight_decay=1.0))
    losses = []
    for batch in (replace(turned, weight=weight), turned):
        method = fit(METHODS[name], settings, batch, seed=0).method
        margin = method.margins(method.infer(pairs), pairs).mean
        losses.append(float(-torch.nn.functional.logsigmoid(margin).mean()))
    assert losses[0] < losses[1] - (0.02 if METHODS[name].personal else 0)


def test_likelihoods_are_no_hidden_states() -> None:
    method = METHODS["ref"]
    with pytest.raises(CannotRunError, match="causal language model"):
        method(method.settings_class(), 8)


def test_prompts_are_asked_for_by_who_reads_them(models: dict[str, PersonalRewardModel]) -> None:
    with pytest.raises(CannotRunError, match="hidden states of prompts"):
        models["pal-B"].adapt(states("pal", 3))


def test_dropout_keeps_the_mean_and_draws_from_its_generator() -> None:
    ones = torch.ones(100_000)
    first = dropout(ones, 0.3, torch.Generator().manual_seed(0))
    again = dropout(ones, 0.3, torch.Generator().manual_seed(0))
    assert torch.equal(first, again)
    assert float(first.mean()) == pytest.approx(1.0, abs=0.01)
    assert float((first == 0).float().mean()) == pytest.approx(0.3, abs=0.01)
