"""Questions of a fitted method, and which methods have none."""

import pytest
import torch

from palate.errors import CannotRunError
from palate.methods import METHODS
from palate.questions import RULES, ask, choose
from palate.settings import build
from palate.types import Evidence, PairBatch

WIDTH = 6
UNABLE = {"vpl", "pal"}
NOTHING = Evidence(torch.zeros(0, 4), torch.tensor([0, 0]))


def untrained(name: str) -> tuple[object, PairBatch]:
    generator = torch.Generator().manual_seed(0)
    method_class = METHODS[name]
    settings = build(method_class.settings_class, {}).candidates()[0]
    tables = torch.randn(2, 40, WIDTH, generator=generator)
    pool = PairBatch.of_pairs(*tables)
    method = method_class(settings, WIDTH)
    method.standardise(pool)
    method.initialise(pool, generator)
    method.finish(pool)
    return method, pool


def answers(method: object, n: int = 3, weight: torch.Tensor | None = None) -> Evidence:
    """What a user said to n drawn questions."""
    tables = torch.randn(2, n, WIDTH, generator=torch.Generator().manual_seed(5))
    rows = method.evidence(PairBatch.of_pairs(*tables)).detach()  # type: ignore[attr-defined]
    return Evidence(rows, torch.tensor([0, n]), weight)


@pytest.mark.parametrize("weight", [None, torch.tensor([0.5, 1.0, 0.25])])
@pytest.mark.parametrize("name", ["pref", "vrf", "brf"])
def test_the_change_is_that_of_refitting_on_either_answer(
    name: str, weight: torch.Tensor | None
) -> None:
    method, pool = untrained(name)
    said = answers(method, weight=weight)
    asked = ask(method, said, pool, candidates=pool.features[:9])  # type: ignore[arg-type]
    (choice,) = asked.choices
    posterior = method.posterior(said)  # type: ignore[attr-defined]
    now = method.reward(posterior, pool.features[:9]).mean.argmax()  # type: ignore[attr-defined]
    expected = 0.0
    one, other = pool.chosen[[choice.index]], pool.rejected[[choice.index]]
    for p, a, b in ((choice.probability, one, other), (1 - choice.probability, other, one)):
        answer = method.evidence(PairBatch(pool.features, a, b, torch.tensor([0, 1])))  # type: ignore[attr-defined]
        more = None if weight is None else torch.cat([weight, torch.ones(1)])
        rows = torch.cat([said.rows, answer.detach()])
        refit = method.posterior(Evidence(rows, torch.tensor([0, 4]), more))  # type: ignore[attr-defined]
        best = method.reward(refit, pool.features[:9]).mean.argmax()  # type: ignore[attr-defined]
        expected += p * float(best != now)
    assert asked.change == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", ["pref", "vrf"])
def test_questions_are_those_of_the_weights(name: str) -> None:
    method, pool = untrained(name)
    said = answers(method)
    posterior = method.posterior(said)  # type: ignore[attr-defined]
    asked = ask(method, said, pool, count=3)  # type: ignore[arg-type]
    with torch.no_grad():
        rewards = method.basis_rewards(pool.features)  # type: ignore[attr-defined]
        weights = method.weights(posterior)  # type: ignore[attr-defined]
    delta = rewards[pool.chosen] - rewards[pool.rejected]
    assert asked.choices == choose(weights, delta, count=3)
    margins = method.margins(posterior, pool)  # type: ignore[attr-defined]
    for choice in asked.choices:
        logit = float(margins.logit[choice.index])
        assert choice.probability == pytest.approx(float(torch.tensor(logit).sigmoid()), abs=1e-4)
    assert asked.change is not None
    assert asked.settled is (asked.change < 0.05)


def test_candidates_decide_when_to_stop() -> None:
    method, pool = untrained("vrf")
    said = answers(method)
    one = ask(method, said, pool, candidates=pool.features[:1])  # type: ignore[arg-type]
    assert (one.change, one.settled) == (0.0, True)
    many = ask(method, said, pool, candidates=pool.features)  # type: ignore[arg-type]
    assert many.change is not None
    assert 0 <= many.change <= 1


@pytest.mark.parametrize("name", sorted(UNABLE))
def test_methods_without_bases_say_so(name: str) -> None:
    method_class = METHODS[name]
    settings = build(method_class.settings_class, {}).candidates()[0]
    method = method_class(settings, WIDTH)
    pool = PairBatch.of_pairs(torch.zeros(2, WIDTH), torch.ones(2, WIDTH))
    with pytest.raises(CannotRunError, match=f"{name} has no weights over bases"):
        ask(method, NOTHING, pool)  # type: ignore[arg-type]


def test_every_method_is_accounted_for() -> None:
    """A new method asks questions, or is listed as one that does not."""
    from palate.methods.factorised import Factorised

    assert {
        name for name, method in METHODS.items() if not issubclass(method, Factorised)
    } == UNABLE


def test_without_uncertainty_there_are_random_questions_and_no_verdict() -> None:
    method, pool = untrained("lore")
    said = answers(method)
    with pytest.raises(CannotRunError, match="no uncertainty"):
        ask(method, said, pool)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(0)
    asked = ask(method, said, pool, rule="random", generator=generator)  # type: ignore[arg-type]
    assert (asked.change, asked.settled) == (None, None)
    assert set(RULES) == {"information", "slope", "ellipsoid", "eubo", "random"}
