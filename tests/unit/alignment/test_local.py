"""A transformers model as a policy: seeds, batches, padding, templates, ends, refusals."""

import shutil
from pathlib import Path

import pytest
import torch

from palate.alignment.drawing import Drawing, draw_token
from palate.alignment.local import LocalPolicy, pad_left
from palate.alignment.policy import Request
from palate.errors import BackboneError, CannotRunError, PolicyError
from palate.types import Message
from tests import toy
from tests.unit.alignment.tiny import TINY

SKY = "Why is the sky blue?"
SINK = "How do I unblock a kitchen sink, and what must I never pour into it?"


def test_equal_requests_give_equal_answers(tiny_policy: LocalPolicy) -> None:
    request = Request(SKY, count=3, max_tokens=12, seed=5)
    assert tiny_policy.sample(request) == tiny_policy.sample(request)


def test_another_seed_gives_other_answers(tiny_policy: LocalPolicy) -> None:
    one, other = (tiny_policy.sample(Request(SKY, max_tokens=20, seed=seed)) for seed in (1, 2))
    assert one.texts != other.texts


def test_what_stands_beside_a_request_changes_nothing(tiny_policy: LocalPolicy) -> None:
    """Rows of other lengths pad it, other limits write on beyond its end."""
    mine = Request(SKY, count=2, max_tokens=10, seed=3)
    others = [Request(SINK, count=3, max_tokens=25, seed=4, system="Be formal."), mine]
    assert tiny_policy.sample_many(others)[1] == tiny_policy.sample(mine)


def test_batches_of_any_size_write_the_same(tiny_policy: LocalPolicy) -> None:
    requests = [Request(SKY, count=3, max_tokens=8), Request(SINK, count=2, max_tokens=8)]
    narrow = LocalPolicy(tiny_policy.model, tiny_policy.tokenizer, name="n", identity="n", batch=2)
    assert narrow.sample_many(requests) == tiny_policy.sample_many(requests)


def test_more_answers_begin_with_the_fewer(tiny_policy: LocalPolicy) -> None:
    few = tiny_policy.sample(Request(SKY, count=2, max_tokens=8)).texts
    assert tiny_policy.sample(Request(SKY, count=4, max_tokens=8)).texts[:2] == few


def test_no_global_stream_is_drawn_from(tiny_policy: LocalPolicy) -> None:
    before = torch.random.get_rng_state()
    tiny_policy.sample(Request(SKY, max_tokens=8))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_temperature_zero_takes_the_likeliest_token(tiny_policy: LocalPolicy) -> None:
    written = tiny_policy.write([Request(SKY, temperature=0, max_tokens=6, seed=9)])[0]
    ids = list(written.prompt)
    for token in written.answers[0]:
        with torch.inference_mode():
            logits = tiny_policy.model(torch.tensor([ids])).logits[0, -1]
        assert token == int(logits.argmax())
        ids.append(token)


def test_tokens_are_counted(tiny_policy: LocalPolicy) -> None:
    request = Request(SKY, count=3, max_tokens=7)
    sampled, written = tiny_policy.sample(request), tiny_policy.write([request])[0]
    assert sampled.prompt_tokens == len(tiny_policy.tokens(SKY))
    assert sampled.completion_tokens == sum(map(len, written.answers)) <= 21


def test_the_chat_template_reads_systems_and_conversations(tiny_policy: LocalPolicy) -> None:
    read = tiny_policy.tokenizer.decode(tiny_policy.tokens(SKY, "Be brief."))
    assert read == f"<|system|> Be brief.<|user|> {SKY}<|assistant|>"
    turns = (Message("user", "Hi"), Message("assistant", "Hello."), Message("user", SKY))
    read = tiny_policy.tokenizer.decode(tiny_policy.tokens(turns))
    assert read == f"<|user|> Hi<|assistant|> Hello.<|end|><|user|> {SKY}<|assistant|>"


def test_without_a_template_texts_are_joined(
    tiny_policy: LocalPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiny_policy.tokenizer, "chat_template", None)
    read = tiny_policy.tokenizer.decode(tiny_policy.tokens(SKY, "Be brief."))
    assert read == f"Be brief.\n\n{SKY}\n\n"
    assert tiny_policy.sample(Request(SKY, max_tokens=4)).completion_tokens


def test_a_template_that_refuses_is_named(
    tiny_policy: LocalPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuses = "{{ raise_exception('no system here') }}"
    monkeypatch.setattr(tiny_policy.tokenizer, "chat_template", refuses)
    with pytest.raises(PolicyError, match="refuses turns of system, user: no system here"):
        tiny_policy.sample(Request(SKY, system="Be brief."))


def test_what_is_too_long_is_refused(tiny_policy: LocalPolicy) -> None:
    with pytest.raises(PolicyError, match="more than the 1024 that"):
        tiny_policy.sample(Request(SKY, max_tokens=2000))
    with pytest.raises(PolicyError, match="shorten the prompt"):
        tiny_policy.sample(Request("why " * 2000, max_tokens=5))


def test_an_answer_stops_at_its_end(
    tiny_policy: LocalPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end is whatever token the first answer has at its third place."""
    free = tiny_policy.write([Request(SKY, max_tokens=20)])[0].answers[0]
    monkeypatch.setattr(tiny_policy, "ends", [free[2]])
    ended = tiny_policy.write([Request(SKY, max_tokens=20)])[0].answers[0]
    assert ended == free[: free.index(free[2]) + 1]


def test_a_saved_folder_is_a_policy_and_knows_its_weights(
    tiny_policy: LocalPolicy, tiny_cache: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(tiny_cache / "policies" / f"small-{TINY.key}", copy)
    again = LocalPolicy.load(str(copy), dtype="float32")
    request = Request(SKY, count=2, max_tokens=10)
    assert again.sample(request) == tiny_policy.sample(request)
    assert again.identity == tiny_policy.identity


def test_what_is_no_causal_model_is_refused(tmp_path_factory: pytest.TempPathFactory) -> None:
    encoder = toy.make_backbone(tmp_path_factory.mktemp("b") / "encoder")
    with pytest.raises(CannotRunError):
        LocalPolicy.load(str(encoder))
    with pytest.raises(BackboneError, match="unknown backbone"):
        LocalPolicy.load("nothing here")


# -- drawing ----------------------------------------------------------------------------------


def test_drawn_tokens_have_the_frequencies_of_the_softmax() -> None:
    scores = torch.tensor([0.0, 1.0, -torch.inf, 2.0])
    uniform = torch.rand(40_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for temperature in (1.0, 0.5):
        drawn = draw_token(
            scores.expand(len(uniform), -1), uniform, torch.full((len(uniform),), temperature)
        )
        share = torch.bincount(drawn, minlength=4) / len(uniform)
        torch.testing.assert_close(
            share, torch.softmax(scores / temperature, 0), atol=0.01, rtol=0.0
        )


@pytest.mark.parametrize("uniform", [0.0, 1 - 1e-16, 0.5])
def test_a_token_without_chance_is_never_drawn(uniform: float) -> None:
    scores = torch.full((1, 5000), -torch.inf)
    scores[0, 2000:3000] = 0.0
    drawn = draw_token(scores, torch.tensor([uniform], dtype=torch.float64), torch.ones(1))
    assert 2000 <= int(drawn) < 3000


def test_a_request_draws_for_each_answer_and_token() -> None:
    draws = Drawing.of(Request(SKY, count=3, max_tokens=4, seed=1, temperature=0.7))
    assert [draw.max_tokens for draw in draws] == [4, 4, 4]
    assert len({float(draw.uniform[0]) for draw in draws}) == 3


def test_padding_stands_before() -> None:
    ids, mask = pad_left([[1, 2, 3], [4]], pad=9)
    assert ids.tolist() == [[1, 2, 3], [9, 9, 4]]
    assert mask.tolist() == [[1, 1, 1], [0, 0, 1]]
