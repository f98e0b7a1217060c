"""What every method promises, over the registry."""

import inspect
import pkgutil
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
import torch
from torch import Tensor

import palate.methods
from palate.data.pairs import pairs_of_users
from palate.data.splits import SplitSettings, make_split
from palate.methods import METHODS, Method
from palate.methods.base import dropout
from palate.model import PersonalRewardModel
from palate.storage import method_bytes
from palate.training import fit
from palate.types import PairBatch
from tests.contract.conftest import Planted

names = pytest.mark.parametrize("name", METHODS)


def trained(name: str, world: Planted, seed: int = 0, steps: int = 150) -> PersonalRewardModel:
    settings = {"steps": steps, "weight_decay": 1.0}
    return PersonalRewardModel.train(
        world.data, method=name, features=world.features, seed=seed, settings=settings
    )


@pytest.fixture(scope="module")
def models(opposed: Planted) -> dict[str, PersonalRewardModel]:
    return {name: trained(name, opposed) for name in METHODS}


def some_pairs(count: int, seed: int = 0, width: int = 8) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    chosen, rejected = torch.randn(2, count, width, generator=generator).unbind()
    return chosen, rejected


def of_users(*answers: tuple[Tensor, Tensor]) -> PairBatch:
    """Several users' comparisons in one batch."""
    chosen = torch.cat([pair[0] for pair in answers])
    rejected = torch.cat([pair[1] for pair in answers])
    counts = torch.tensor([0, *(len(pair[0]) for pair in answers)])
    rows = torch.arange(len(chosen))
    return PairBatch(torch.cat([chosen, rejected]), rows, rows + len(chosen), counts.cumsum(0))


def method_classes() -> Iterator[type[Method]]:
    for module in pkgutil.iter_modules([str(Path(palate.methods.__file__).parent)]):
        for _, member in inspect.getmembers(import_module(f"palate.methods.{module.name}")):
            if inspect.isclass(member) and issubclass(member, Method) and member is not Method:
                yield member


def test_no_method_escapes_the_registry() -> None:
    assert set(method_classes()) == set(METHODS.values())
    for name, method in METHODS.items():
        assert method.name == name
        assert method.paper
        assert isinstance(method.personal, bool)
        assert isinstance(method.gives_uncertainty, bool)


@names
def test_one_seed_gives_the_same_bytes(
    name: str, opposed: Planted, models: dict[str, PersonalRewardModel]
) -> None:
    torch.manual_seed(123)  # a global stream that nothing may draw from
    again = trained(name, opposed)
    other = trained(name, opposed, seed=1)
    assert method_bytes(again.method) == method_bytes(models[name].method)
    assert method_bytes(other.method) != method_bytes(models[name].method)


@names
def test_nothing_draws_from_the_global_stream(name: str, opposed: Planted) -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    trained(name, opposed, steps=5)
    assert torch.equal(torch.random.get_rng_state(), before)


@names
def test_saving_and_loading_change_nothing(
    name: str, models: dict[str, PersonalRewardModel], tmp_path: Path
) -> None:
    model = models[name]
    model.save(tmp_path / "run")
    loaded = PersonalRewardModel.load(tmp_path / "run")
    assert loaded.identity == model.identity
    assert loaded.method.settings == model.method.settings
    answers, candidates = some_pairs(7), some_pairs(5, seed=1)[0]
    ranking = model.rank(None, candidates, model.adapt(answers))
    assert loaded.rank(None, candidates, loaded.adapt(answers)) == ranking


@names
def test_order_of_answers_does_not_matter(
    name: str, models: dict[str, PersonalRewardModel]
) -> None:
    method = models[name].method
    chosen, rejected = some_pairs(9)
    shuffled = torch.randperm(9, generator=torch.Generator().manual_seed(3))
    first = method.infer(PairBatch.of_pairs(chosen, rejected))
    second = method.infer(PairBatch.of_pairs(chosen[shuffled], rejected[shuffled]))
    torch.testing.assert_close(first.mean, second.mean)
    if first.variance is not None:
        torch.testing.assert_close(first.variance, second.variance)


@names
def test_a_user_is_inferred_alike_alone_and_among_others(
    name: str, models: dict[str, PersonalRewardModel]
) -> None:
    method = models[name].method
    alice, bob, nobody = some_pairs(4), some_pairs(6, seed=1), some_pairs(0)
    together = method.infer(of_users(alice, nobody, bob))
    for row, answers in enumerate((alice, nobody, bob)):
        alone = method.infer(PairBatch.of_pairs(*answers))
        torch.testing.assert_close(together.mean[row], alone.mean[0])
        assert together.answers[row] == len(answers[0])


@names
def test_swapping_chosen_and_rejected_negates_the_margin(
    name: str, models: dict[str, PersonalRewardModel]
) -> None:
    method = models[name].method
    posterior = method.infer(PairBatch.of_pairs(*some_pairs(5)))
    chosen, rejected = some_pairs(11, seed=2)
    forward = method.margins(posterior, PairBatch.of_pairs(chosen, rejected))
    backward = method.margins(posterior, PairBatch.of_pairs(rejected, chosen))
    torch.testing.assert_close(forward.mean, -backward.mean)
    torch.testing.assert_close(forward.logit, -backward.logit)


@names
def test_margins_are_differences_of_joint_rewards(
    name: str, models: dict[str, PersonalRewardModel]
) -> None:
    """Mean and variance of a pair's margin from the rewards' joint distribution."""
    method = models[name].method
    posterior = method.infer(PairBatch.of_pairs(*some_pairs(5)))
    chosen, rejected = some_pairs(1, seed=4)
    margin = method.margins(posterior, PairBatch.of_pairs(chosen, rejected))
    rewards = method.reward(posterior, torch.cat([chosen, rejected]))
    torch.testing.assert_close(margin.mean[0], rewards.mean[0] - rewards.mean[1])
    if rewards.factor is not None:
        assert margin.variance is not None
        joint = (rewards.factor[0] - rewards.factor[1]).square().sum()
        torch.testing.assert_close(margin.variance[0], joint, rtol=1e-3, atol=1e-6)


@names
def test_answers_added_one_by_one_equal_all_at_once(
    name: str, models: dict[str, PersonalRewardModel]
) -> None:
    method = models[name].method
    chosen, rejected = some_pairs(8)
    posterior = method.infer(PairBatch.of_pairs(*some_pairs(0)))
    for i in range(8):
        one = PairBatch.of_pairs(chosen[i : i + 1], rejected[i : i + 1])
        posterior = method.update(posterior, one)
    at_once = method.infer(PairBatch.of_pairs(chosen, rejected))
    torch.testing.assert_close(posterior.mean, at_once.mean, rtol=1e-4, atol=1e-5)
    assert torch.equal(posterior.answers, at_once.answers)
    if at_once.variance is not None:
        assert posterior.variance is not None
        torch.testing.assert_close(posterior.variance, at_once.variance, rtol=1e-4, atol=1e-6)


@names
def test_no_answers_give_everybody_the_same_model(
    name: str, models: dict[str, PersonalRewardModel]
) -> None:
    method = models[name].method
    posterior = method.infer(of_users(some_pairs(0), some_pairs(0)))
    weights = method.weights(posterior).mean
    assert torch.equal(weights[0], weights[1])
    assert torch.equal(posterior.answers, torch.zeros(2, dtype=torch.long))


@names
def test_declared_inabilities_are_honoured(
    name: str, models: dict[str, PersonalRewardModel]
) -> None:
    model = models[name]
    user = model.adapt(some_pairs(6))
    ranking = model.rank(None, some_pairs(4, seed=1)[0], user)
    measured = [candidate.sd for candidate in ranking.candidates]
    if model.method.gives_uncertainty:
        assert user.uncertainty is not None
        assert all(sd is not None and sd > 0 for sd in measured)
    else:
        assert user.uncertainty is None
        assert user.posterior.variance is None
        assert measured == [None] * 4
    if not model.method.personal:
        other = model.adapt(some_pairs(6, seed=9))
        assert torch.equal(user.weights.mean, other.weights.mean)


@names
def test_a_world_without_differences_is_recovered(name: str, alike: Planted) -> None:
    figures = trained(name, alike).evaluate(alike.data, features=alike.features)
    seen, unseen = alike.true_accuracy()
    assert figures.seen.accuracy.mean > seen - 0.02
    assert figures.unseen.accuracy.mean > unseen - 0.02


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if method.personal])
def test_a_personal_method_recovers_opposed_users(
    name: str, opposed: Planted, models: dict[str, PersonalRewardModel]
) -> None:
    model = PersonalRewardModel.train(opposed.data, method=name, features=opposed.features)
    figures = model.evaluate(opposed.data, features=opposed.features)
    bt = models["bt"].evaluate(opposed.data, features=opposed.features)
    seen, unseen = opposed.true_accuracy()
    assert figures.seen.accuracy.mean > seen - 0.03
    assert figures.unseen.accuracy.mean > unseen - 0.03
    assert bt.unseen.accuracy.mean < 0.65
    few = [figures.few_shot[n].accuracy.mean for n in (0, 3, 20)]
    assert few == sorted(few)


@names
def test_weights_of_comparisons_are_used(name: str, opposed: Planted) -> None:
    """Weight one kind of user up: their reward becomes everybody's."""
    split = make_split(opposed.data, SplitSettings())
    users = torch.unique(torch.from_numpy(opposed.data.user[split.train])).numpy()
    pairs = pairs_of_users(opposed.data, opposed.features, split.train, users)
    kind = torch.tensor([int(opposed.data.user_ids[u][1:]) % 4 for u in users])
    heavy = torch.where(kind[pairs.user] == 0, 50.0, 1.0)
    weighted = PairBatch(pairs.features, pairs.chosen, pairs.rejected, pairs.offsets, heavy)
    cls = METHODS[name]
    settings = cls.settings_class(steps=150, weight_decay=1.0)
    method = fit(cls, settings, weighted, seed=0).method
    population = method.infer(PairBatch.of_pairs(*some_pairs(0)))
    axis = torch.eye(8)[:1]
    margin = method.margins(population, PairBatch.of_pairs(axis, -axis))
    assert float(margin.mean) > 0


def test_dropout_keeps_the_mean_and_draws_from_its_generator() -> None:
    ones = torch.ones(100_000)
    first = dropout(ones, 0.3, torch.Generator().manual_seed(0))
    again = dropout(ones, 0.3, torch.Generator().manual_seed(0))
    assert torch.equal(first, again)
    assert float(first.mean()) == pytest.approx(1.0, abs=0.01)
    assert float((first == 0).float().mean()) == pytest.approx(0.3, abs=0.01)
