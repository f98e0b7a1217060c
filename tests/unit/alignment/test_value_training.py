"""Values learned from samples: returns by hand, a chain whose values are known, real samples."""

import pytest
import torch
from torch import Tensor

from palate import PersonalRewardModel
from palate.alignment.episodes import Episodes, draw_episodes
from palate.alignment.local import LocalPolicy
from palate.alignment.policy import Request
from palate.alignment.value_training import ValueSettings, lambda_returns, learn_values
from palate.errors import CannotRunError, PolicyError, SettingsError
from palate.methods import method_named
from palate.model import PersonalRewardModel as Model

STATES, TOKENS, WIDTH = 3, 4, 16


def chain(count: int = 3000, seed: int = 0) -> tuple[Episodes, Tensor, Tensor]:
    """Answers of three tokens; each token adds its own worth to the reward, so that

    V(s_t) is the sum of what was written plus nothing on average, and A(s, a) the token's worth.
    """
    generator = torch.Generator().manual_seed(seed)
    worth = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 2.0], [0.0, -2.0]])
    embedding = torch.randn(TOKENS, WIDTH, generator=generator)
    place = torch.randn(STATES, WIDTH, generator=generator)
    mark = torch.randn(TOKENS, WIDTH, generator=generator)
    token = torch.randint(TOKENS, (count, STATES), generator=generator)
    written = torch.cat([torch.zeros(count, 1, WIDTH), mark[token[:, :-1]].cumsum(1)], dim=1)
    hidden = (place + written).flatten(0, 1)
    rewards = worth[token].sum(1)
    offsets = torch.arange(count + 1) * STATES
    return Episodes(hidden, token.flatten(), offsets, rewards), embedding, worth


def uneven() -> Episodes:
    offsets = torch.tensor([0, 3, 4, 6])
    return Episodes(torch.zeros(6, 2), torch.zeros(6).long(), offsets, torch.zeros(3, 1))


def test_monte_carlo_gives_each_token_its_answers_reward() -> None:
    rewards = torch.tensor([[1.0], [2.0], [3.0]])
    found = lambda_returns(uneven(), rewards, torch.full((6, 1), 9.0), 1.0)
    assert found[:, 0].tolist() == [1, 1, 1, 2, 3, 3]


@pytest.mark.parametrize("trace", [0.0, 0.5, 0.9])
def test_returns_mix_later_values_as_the_equation_says(trace: float) -> None:
    rewards, values = torch.tensor([[1.0], [2.0], [3.0]]), torch.arange(6.0)[:, None] * 10
    found = lambda_returns(uneven(), rewards, values, trace)[:, 0].tolist()
    last = [1.0, 2.0, 3.0]
    second = (1 - trace) * 20 + trace * 1
    first = (1 - trace) * 10 + trace * second
    fifth = (1 - trace) * 50 + trace * 3
    assert found == pytest.approx([first, second, last[0], last[1], fifth, last[2]])


@pytest.mark.parametrize("trace", [1.0, 0.8])
def test_a_chains_values_and_advantages_are_found(trace: float) -> None:
    episodes, embedding, worth = chain()
    settings = ValueSettings(trace=trace, epochs=30, batch=512, rate=5e-3)
    learned = learn_values(episodes, embedding, settings)
    heads = learned.heads
    # before the first, second and third token none, a third and two thirds are written
    assert learned.report["explained_by_state"] == pytest.approx(1 / 3, abs=0.05)
    assert learned.report["explained_by_action"] == pytest.approx(2 / 3, abs=0.05)
    keys = heads.keys(embedding).expand(STATES, -1, -1)
    for basis in range(2):
        weights = torch.zeros(STATES, 2)
        weights[:, basis] = 1.0
        found = heads.advantages(episodes.hidden[:STATES], weights, keys)
        # an advantage is what a token adds over the policy's mean, which is zero here
        torch.testing.assert_close(found, worth[:, basis].expand(STATES, -1), atol=0.5, rtol=0.0)


def test_the_same_seed_gives_the_same_heads() -> None:
    episodes, embedding, _ = chain(200)
    settings = ValueSettings(epochs=2)
    one, other = (learn_values(episodes, embedding, settings).heads for _ in range(2))
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name


def test_no_global_stream_is_drawn_from() -> None:
    episodes, embedding, _ = chain(50)
    before = torch.random.get_rng_state()
    learn_values(episodes, embedding, ValueSettings(epochs=1))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_basis_without_spread_does_no_harm() -> None:
    episodes, embedding, _ = chain(200)
    episodes.rewards[:, 1] = 3.0
    heads = learn_values(episodes, embedding, ValueSettings(epochs=2)).heads
    assert all(bool(tensor.isfinite().all()) for tensor in heads.state_dict().values())


@pytest.mark.parametrize(
    "wrong", [{"trace": 1.5}, {"trace": -0.1}, {"epochs": 0}, {"batch": 0}, {"rank": 0}]
)
def test_settings_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(SettingsError):
        ValueSettings(**wrong)  # type: ignore[arg-type]


# -- real samples -----------------------------------------------------------------------------


def sky(count: int = 12) -> list[Request]:
    return [Request(f"prompt {i}", count=count, max_tokens=30, seed=i) for i in range(3)]


@pytest.fixture
def ending(tiny_policy: LocalPolicy, monkeypatch: pytest.MonkeyPatch) -> LocalPolicy:
    """The tiny policy hardly ever ends an answer: some frequent tokens do it in its place."""
    written = tiny_policy.write(sky())
    flat = [token for one in written for answer in one.answers for token in answer]
    ends = torch.bincount(torch.tensor(flat)).topk(12).indices.tolist()
    monkeypatch.setattr(tiny_policy, "ends", ends)
    return tiny_policy


def test_episodes_hold_the_states_before_each_token(
    text_model: PersonalRewardModel, ending: LocalPolicy
) -> None:
    episodes = draw_episodes(text_model, ending, sky())
    assert len(episodes.hidden) == len(episodes.token) == int(episodes.offsets[-1])
    written = [
        (w.prompt, a) for w in ending.write(sky()) for a in w.answers if a[-1] in ending.ends
    ]
    assert len(episodes) == len(written)
    for number, (prompt, answer) in enumerate(written[:5]):
        own = slice(int(episodes.offsets[number]), int(episodes.offsets[number + 1]))
        assert episodes.token[own].tolist() == answer
        with torch.inference_mode():
            ids = torch.tensor([prompt + answer[:-1]])
            hidden = ending.model.base_model(input_ids=ids).last_hidden_state[0]
        expected = hidden[len(prompt) - 1 :]
        torch.testing.assert_close(episodes.hidden[own].float(), expected, atol=5e-3, rtol=5e-3)


def test_episodes_are_scored_by_the_models_own_rewards(
    text_model: PersonalRewardModel, ending: LocalPolicy
) -> None:
    episodes = draw_episodes(text_model, ending, sky())
    user = text_model.new_user()
    written = ending.write(sky())[0]
    texts = [ending.text(a) for a in written.answers if a[-1] in ending.ends]
    expected = text_model.reward("prompt 0", texts, user).mean
    assert user.weights is not None
    found = episodes.rewards[: len(texts)] @ user.weights.mean[0]
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_unfinished_answers_have_no_reward(
    text_model: PersonalRewardModel, tiny_policy: LocalPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiny_policy, "ends", [0])
    with pytest.raises(PolicyError, match="finished no answer: raise max_tokens"):
        draw_episodes(text_model, tiny_policy, [Request("prompt 0", max_tokens=2)])


def test_a_method_without_bases_has_no_values(
    text_model: PersonalRewardModel, tiny_policy: LocalPolicy
) -> None:
    vpl = method_named("vpl")
    method = vpl(vpl.settings_class(), text_model.method.width)
    source = text_model.reader.source()
    other = Model(method, source, text_model.seen, text_model.report)
    with pytest.raises(CannotRunError, match="vpl has no basis rewards"):
        draw_episodes(other, tiny_policy, sky(1))
