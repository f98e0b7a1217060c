"""The world's own judge against what the world knows of its responses."""

import numpy as np
import pytest
import torch

from palate.alignment.rule_world import RuleWorldJudge, attributes_of, read, true_rewards
from palate.data.synthetic import ATTRIBUTES, AttributesConfig, make_attributes_world
from palate.data.synthetic.content import load_content
from palate.data.synthetic.writer import Writer
from palate.errors import DataError
from palate.types import Message

LENGTH, FORMALITY, HUMOUR, ELICITATION = range(4)


def weights(**signs: int) -> list[int]:
    return [signs.get(attribute.name, 0) for attribute in ATTRIBUTES]


@pytest.mark.parametrize("seed", [0, 7])
def test_it_reads_what_the_world_wrote(seed: int) -> None:
    world = make_attributes_world(AttributesConfig(users=84, comparisons=1, seed=seed))
    right = [attributes_of(r.text) == r.attributes for r in world.responses]
    assert np.mean(right) > 0.999


def test_it_reads_texts_of_more_traits_than_the_world_writes() -> None:
    rng = np.random.default_rng(3)
    content = load_content()
    right = []
    for subject in content.subjects:
        writer = Writer(content, subject, rng)
        rows = rng.integers(-1, 2, size=(10, 7))
        right += [np.array(attributes_of(writer.write(row.tolist()))) == row for row in rows]
    # a concise text of six traits has no room for a phrase of each
    assert np.mean(right) > 0.95


def test_rewards_are_those_of_the_world() -> None:
    world = make_attributes_world(AttributesConfig(users=84, comparisons=5))
    judge = RuleWorldJudge({user: world.weights_of(user) for user in world.user_ids})
    for user in world.user_ids[:10]:
        for response in world.responses[:30]:
            prompt = world.prompts[response.prompt]
            found = judge.rewards(user, prompt, [response.text])
            assert found.tolist() == [world.true_reward(user, prompt, response.text)]


def test_a_preference_has_two_sides_and_ties() -> None:
    judge = RuleWorldJudge({"alice": weights(formality=1)})
    formal = "One may henceforth proceed accordingly. Use vinegar."
    informal = "So yeah, that's a kettle for ya, pal. Use vinegar."
    assert attributes_of(formal)[FORMALITY] == 1
    assert attributes_of(informal)[FORMALITY] == -1
    assert judge.prefers_first("alice", "Why?", formal, informal) == 1
    assert judge.prefers_first("alice", "Why?", informal, formal) == 0
    assert judge.prefers_first("alice", "Why?", formal, formal) == 0.5


def test_a_stranger_and_other_weights_are_refused() -> None:
    judge = RuleWorldJudge({"alice": weights()})
    with pytest.raises(DataError, match="'bob' is not among the 1 users"):
        judge.rewards("bob", "Why?", ["So."])
    with pytest.raises(DataError, match=r"true weights are \(3,\)"):
        true_rewards("Why?", ["So."], [1, 0, 0])


def test_length_is_of_distinct_points() -> None:
    point = "Vinegar dissolves lime. "
    assert attributes_of(point)[LENGTH] == -1
    assert attributes_of(point * 9)[LENGTH] == -1
    assert attributes_of("".join(f"Fact {i} holds. " for i in range(3)))[LENGTH] == 0
    assert attributes_of("".join(f"Fact {i} holds. " for i in range(5)))[LENGTH] == 1


def test_a_trait_against_its_opposite_is_by_majority() -> None:
    asked = "How does that sound to you?"
    serious, joking = (
        "That is a grave point with serious consequences.",
        "Ba dum tss, the drummer has earned his banana.",
    )
    assert read(f"{asked} {serious}").phrases == {"engaging": 1, "serious": 1}
    assert attributes_of(f"{serious} Use it. {joking}")[HUMOUR] == 0
    assert attributes_of(f"{serious} {joking} {serious}")[HUMOUR] == -1
    assert attributes_of(asked)[ELICITATION] == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "...",
        "?!",
        "\n\n",
        "no end",
        "A" * 5000,
        "日本語。",
        "🙂🙃",
        "e.g. this, i.e. that",
    ],
)
def test_any_text_can_be_read(text: str) -> None:
    found = read(text)
    assert len(found.attributes) == 7
    assert not found.phrases


def test_a_conversation_is_read_as_its_texts() -> None:
    turns = (Message("assistant", "One may henceforth proceed accordingly."),)
    assert attributes_of(turns)[FORMALITY] == 1


def test_nothing_to_judge_gives_no_rewards() -> None:
    assert true_rewards("Why?", [], weights()).shape == (0,)
    assert true_rewards("Why?", ["So."], torch.zeros(7)).tolist() == [0.0]
