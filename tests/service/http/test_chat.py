"""Chat completions: what OpenAI's own client sees, and how the choice follows the user."""

from __future__ import annotations

from typing import Any

import httpx2
import openai
import pytest

from palate.service.http.who import HEADER
from tests.service.http.world import (
    DISLIKED,
    LIKED,
    PROMPT,
    Running,
    assert_error,
    chat,
    teach,
)


@pytest.fixture
def client(shared: Running) -> httpx2.Client:
    return shared.client()


def test_a_taste_decides(served: Running) -> None:
    """Two users with opposite tastes get different answers of the same candidates."""
    client = served.client()
    teach(client, user="light")
    teach(client, user="bed", sign=-1)
    answers = [chat(client, user=user).json() for user in ("light", "bed")]
    assert [one["choices"][0]["message"]["content"] for one in answers] == [LIKED, DISLIKED]
    own = answers[0]["personalization"]
    assert own["personalized"]
    assert own["answers"] == 8
    assert own["candidates"] == 2
    assert own["feedback"]
    assert 0.5 < own["p_best"] <= 1
    assert [one["index"] for one in own["considered"]] == [0, 1]
    assert own["considered"][0]["reward"] == own["reward"] > own["considered"][1]["reward"]
    assert sum(one["p_best"] for one in own["considered"]) == pytest.approx(1, abs=1e-5)


def test_feedback_by_the_completions_id_moves_the_posterior(served: Running) -> None:
    """After a thumb down the same text is worth less, against the same other one."""
    client = served.client()

    def margins(content: Any) -> dict[str, float]:
        texts = [choice["message"]["content"] for choice in content["choices"]]
        rewards = [one["reward"] for one in content["personalization"]["considered"]]
        return dict(zip(texts, (rewards[0] - rewards[1], rewards[1] - rewards[0]), strict=True))

    before = chat(client, n=2).json()
    best = before["choices"][0]["message"]["content"]
    body = {"type": "thumb", "completion_id": before["id"], "value": "down"}
    said = client.post("/v1/feedback", json=body)
    assert said.status_code == 201
    assert said.json()["posterior"]["answers"] == 1
    assert margins(chat(client, n=2).json())[best] < margins(before)[best]


def openai_client(running: Running) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{running.url}/v1", api_key=running.key("alice"), max_retries=0)


def test_openais_client_unchanged(shared: Running) -> None:
    with openai_client(shared) as client:
        done = client.chat.completions.create(
            model="any", messages=[{"role": "user", "content": PROMPT}], user="olga"
        )
        assert done.choices[0].message.content == PROMPT  # the echo
        assert done.choices[0].finish_reason == "stop"
        assert done.id.startswith("chatcmpl-")
        assert done.personalization["personalized"]  # type: ignore[attr-defined]


def test_openais_client_streams(shared: Running) -> None:
    with openai_client(shared) as client:
        stream = client.chat.completions.create(
            model="any",
            messages=[{"role": "user", "content": PROMPT * 10}],
            user="olga",
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = list(stream)
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == PROMPT * 10
    assert chunks[0].choices[0].delta.role == "assistant"
    ends = [c for c in chunks if c.choices and c.choices[0].finish_reason]
    assert len(ends) == 1
    assert ends[0].personalization["candidates"] == 1  # type: ignore[attr-defined]
    assert chunks[-1].choices == []
    assert len({chunk.id for chunk in chunks}) == 1


def test_openais_client_reads_our_errors(shared: Running) -> None:
    with (
        openai.OpenAI(base_url=f"{shared.url}/v1", api_key="wrong", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError, match="unknown, or no longer accepted") as error,
    ):
        client.chat.completions.create(model="any", messages=[{"role": "user", "content": "a"}])
    assert error.value.code == "invalid_key"


def test_n_of_best_of(client: httpx2.Client) -> None:
    texts = [LIKED, DISLIKED, "read a book", "the sky"]
    content = chat(client, candidates=texts, n=2, best_of=4).json()
    assert [one["index"] for one in content["choices"]] == [0, 1]
    own = content["personalization"]
    assert own["candidates"] == 4
    rewards = [one["reward"] for one in own["considered"]]
    assert rewards == sorted(rewards, reverse=True)


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"n": 3, "best_of": 2}, "best_of"),
        ({"n": 17}, "n"),
        ({"n": 0}, "n"),
        ({"candidates": ["a"] * 17}, "candidates"),
        ({"candidates": []}, "candidates"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "wizard", "content": "a"}]}, "messages.0.role"),
        ({"temperature": 3}, "temperature"),
        ({"user": "a/b"}, "user"),
        ({"user": ".."}, "user"),
        ({"user": "a" * 257}, "user"),
        ({"user": "a\x00"}, "user"),
        ({"user": None, "metadata": {"user_id": 7}}, "metadata.user_id"),
    ],
)
def test_what_cannot_be(client: httpx2.Client, more: dict[str, object], param: str) -> None:
    assert assert_error(chat(client, **more), 422)["param"] == param


def test_without_a_user_the_answer_is_plain(client: httpx2.Client) -> None:
    content = chat(client, user=None).json()
    assert content["choices"][0]["message"]["content"] == DISLIKED  # the first that came
    own = content["personalization"]
    assert (own["personalized"], own["reason"], own["feedback"]) == (False, "no_user", False)


def test_who_the_user_is(served: Running) -> None:
    """The header comes first, then metadata, user and safety_identifier."""
    client = served.client()
    names = {"safety_identifier": "four", "user": None}
    assert chat(client, **names).status_code == 200
    names["user"] = "three"
    chat(client, **names)
    chat(client, **names, metadata={"user_id": "two", "other": "1"})
    client.headers.encoding = "utf-8"
    client.headers[HEADER] = "ünö"
    chat(client, **names, metadata={"user_id": "two"})
    users = client.get("/v1/users").json()["data"]
    assert sorted(users) == ["four", "three", "two", "ünö"]


def test_a_conversation_is_scored_whole(client: httpx2.Client) -> None:
    """Parts that are texts are one text; a system's turn is part of the prompt."""
    parts = [{"role": "user", "content": [{"type": "text", "text": PROMPT}]}]
    system = [{"role": "system", "content": "keep cool"}, {"role": "user", "content": PROMPT}]
    alone, by_parts, with_system = (
        chat(client, **more).json()["personalization"]["reward"]
        for more in ({}, {"messages": parts}, {"messages": system})
    )
    assert alone == by_parts != with_system


def test_what_is_no_text_is_answered_plainly(client: httpx2.Client) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:,"}}
    turns = [{"role": "user", "content": [{"type": "text", "text": PROMPT}, image]}]
    own = chat(client, messages=turns).json()["personalization"]
    assert (own["personalized"], own["reason"]) == (False, "not_text")


def test_timing_tells_the_services_own_time(client: httpx2.Client) -> None:
    timing = chat(client).headers["Server-Timing"]
    assert {part.split(";")[0] for part in timing.split(", ")} == {
        *("total", "upstream", "encoding", "own")
    }


@pytest.mark.parametrize("value", ["0", "-1", "nan", "soon"])
def test_a_deadline_that_is_none(client: httpx2.Client, value: str) -> None:
    client.headers["X-Palate-Deadline"] = value
    assert_error(chat(client), 400, "invalid_header")
