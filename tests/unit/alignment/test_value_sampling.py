"""Decoding moved by values: the equation, the frozen policy, users, pairs, refusals."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from palate import PersonalRewardModel
from palate.adaptation.profile import UserProfile
from palate.alignment.local import LocalPolicy
from palate.alignment.policy import Request
from palate.alignment.value_sampling import (
    Steering,
    SteeringSettings,
    last_states,
    sample_for,
    sample_pair,
    steer,
    weights_of,
)
from palate.alignment.values import HeadsShape, ValueHeads
from palate.errors import CannotRunError, DataError, SettingsError
from palate.types import Comparison

SKY = "Why is the sky blue?"


def drawn_heads(width: int, bases: int, size: float = 1.0, seed: int = 0) -> ValueHeads:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        heads = ValueHeads(HeadsShape(width, bases, hidden=16, rank=4))
        nn.init.normal_(heads.query.weight, std=size)
        nn.init.normal_(heads.key_out.weight, std=size)
    return heads.eval().requires_grad_(False)


@pytest.fixture
def heads(tiny_policy: LocalPolicy, text_model: PersonalRewardModel) -> ValueHeads:
    weights = weights_of(text_model.new_user()).mean
    return drawn_heads(tiny_policy.model.config.hidden_size, weights.shape[1])


@pytest.fixture
def alice(text_model: PersonalRewardModel) -> UserProfile:
    answers = [
        Comparison(f"prompt {i}", f"response 0 to {i}", f"response 1 to {i}") for i in range(4)
    ]
    return text_model.adapt(answers)


def test_scores_are_the_policys_and_the_values_over_the_temperature() -> None:
    heads = drawn_heads(8, 3)
    scores, hidden, weights = torch.randn(2, 10), torch.randn(2, 8), torch.randn(2, 3)
    keys = heads.keys(torch.randn(10, 8))
    moved = steer(scores, hidden, heads, weights, keys, SteeringSettings(0.5, top=4))
    value = heads.advantages(hidden, weights, keys.expand(2, -1, -1))
    for row in range(2):
        top = scores[row].topk(4).indices.tolist()
        for token in range(10):
            expected = scores[row, token] + value[row, token] / 0.5 if token in top else -torch.inf
            assert float(moved[row, token]) == pytest.approx(float(expected), rel=1e-5)


def test_more_tokens_than_there_are_rule_none_out() -> None:
    heads = drawn_heads(8, 3)
    scores, keys = torch.randn(1, 5), heads.keys(torch.randn(5, 8))
    hidden, weights = torch.randn(1, 8), torch.zeros(1, 3)
    moved = steer(scores, hidden, heads, weights, keys, SteeringSettings(top=99))
    torch.testing.assert_close(moved, scores)


def test_the_state_is_the_one_that_the_next_token_is_read_from(tiny_policy: LocalPolicy) -> None:
    ids = torch.tensor([tiny_policy.tokens(SKY)])
    with torch.inference_mode(), last_states(tiny_policy.model) as seen:
        logits = tiny_policy.model(ids).logits[:, -1]
        again = tiny_policy.model.get_output_embeddings()(seen[0])
    torch.testing.assert_close(again, logits)


def test_nobodys_weights_leave_the_policy_as_it_is(
    tiny_policy: LocalPolicy, heads: ValueHeads
) -> None:
    request = Request(SKY, count=3, max_tokens=12)
    none = torch.zeros(1, heads.shape.bases)
    guide = Steering(heads, none, SteeringSettings(top=10_000))
    assert tiny_policy.sample_many([request], guide) == tiny_policy.sample_many([request])


def test_the_policy_stays_frozen_and_free_of_hooks(
    tiny_policy: LocalPolicy, heads: ValueHeads, alice: UserProfile
) -> None:
    before = {name: p.clone() for name, p in tiny_policy.model.named_parameters()}
    sample_for(tiny_policy, heads, [Request(SKY, max_tokens=6)], alice)
    assert not tiny_policy.model.get_output_embeddings()._forward_pre_hooks
    assert all(torch.equal(p, before[name]) for name, p in tiny_policy.model.named_parameters())


def test_each_request_has_its_own_user(
    tiny_policy: LocalPolicy,
    heads: ValueHeads,
    alice: UserProfile,
    text_model: PersonalRewardModel,
) -> None:
    """In one batch as alone, whatever the order."""
    bob = text_model.new_user()
    settings = SteeringSettings(temperature=0.01)
    request = Request(SKY, count=2, max_tokens=10)
    longer = replace(request, prompt=SKY * 2)
    alone = [
        sample_for(tiny_policy, heads, [one], user, settings)[0]
        for one, user in ((request, alice), (longer, bob))
    ]
    both = sample_for(tiny_policy, heads, [longer, request], [bob, alice], settings)
    assert both == alone[::-1]


def test_a_lower_temperature_gains_more_of_what_the_values_say(tiny_policy: LocalPolicy) -> None:
    """Heads that value one token alone: it is drawn the more often, the colder the values."""
    wanted = tiny_policy.write([Request(SKY, temperature=0, max_tokens=3)])[0].answers[0][1]
    heads = OneToken(tiny_policy, wanted)
    shares = []
    for temperature in (1e6, 1.0, 0.2):
        guide = Steering(heads, torch.ones(1, 1), SteeringSettings(temperature, top=10_000))
        written = tiny_policy.write([Request(SKY, count=20, max_tokens=20)], guide)[0]
        tokens = [token for answer in written.answers for token in answer]
        shares.append(tokens.count(wanted) / len(tokens))
    assert shares[0] < shares[1] < shares[2]


class OneToken(ValueHeads):
    """A value of one nat for one token, whatever stands before."""

    def __init__(self, policy: LocalPolicy, token: int) -> None:
        super().__init__(HeadsShape(policy.model.config.hidden_size, 1, rank=1))
        self.token = token

    def keys(self, embedding: Tensor) -> Tensor:
        found = torch.zeros(len(embedding), 1)
        found[self.token] = 1.0
        return found

    def advantages(self, hidden: Tensor, weights: Tensor, keys: Tensor) -> Tensor:
        return keys[..., 0] * weights[:, :1]


def test_a_pair_is_written_towards_both_ends_of_the_direction(
    tiny_policy: LocalPolicy, heads: ValueHeads, alice: UserProfile
) -> None:
    first, second = sample_pair(
        tiny_policy, heads, Request(SKY, max_tokens=12), alice, SteeringSettings(0.05)
    )
    assert first != second
    again = sample_pair(
        tiny_policy, heads, Request(SKY, max_tokens=12), alice, SteeringSettings(0.05)
    )
    assert again == (first, second)


def test_two_equal_answers_are_no_question(
    tiny_policy: LocalPolicy, heads: ValueHeads, alice: UserProfile
) -> None:
    with pytest.raises(DataError, match="both directions gave one answer"):
        sample_pair(
            tiny_policy, heads, Request(SKY, max_tokens=12), alice, SteeringSettings(1e9, 10_000)
        )


def test_what_cannot_steer_is_refused(
    tiny_policy: LocalPolicy, heads: ValueHeads, alice: UserProfile
) -> None:
    with pytest.raises(DataError, match=r"expected \(requests, "):
        Steering(heads, torch.zeros(1, 99))
    with pytest.raises(DataError, match="not finite"):
        Steering(heads, torch.full((1, heads.shape.bases), torch.nan))
    with pytest.raises(DataError, match="1 users for 2 requests"):
        sample_for(tiny_policy, heads, [Request(SKY), Request(SKY)], [alice])
    with pytest.raises(CannotRunError, match="no weights over bases"):
        weights_of(replace(alice, weights=None))
    for wrong in ({"temperature": 0.0}, {"temperature": float("inf")}, {"top": 0}):
        with pytest.raises(SettingsError):
            SteeringSettings(**wrong)  # type: ignore[arg-type]
