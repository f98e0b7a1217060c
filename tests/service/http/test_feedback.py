"""Feedback: what it comes to, that it counts once, and what is refused."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from palate import Comparison
from tests.service.http.world import DISLIKED, LIKED, PROMPT, Running, assert_error, chat

THREE = [LIKED, DISLIKED, "read a book"]


@pytest.fixture
def client(shared: Running) -> httpx2.Client:
    return shared.client()


def said(**more: Any) -> dict[str, Any]:
    body = {"type": "comparison", "user": "fay", "prompt": PROMPT}
    return {**body, "chosen": LIKED, "rejected": DISLIKED} | more


def log(client: httpx2.Client, user: str) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = client.get(f"/v1/users/{user}/answers").json()["data"]
    return entries


def test_a_posterior_equals_the_models_own(served: Running) -> None:
    """What the service knows of a user is what the library makes of the same answers."""
    client = served.client()
    pairs = [(f"{LIKED} {word}", f"{DISLIKED} {word}") for word in ["the", "air", "more", "than"]]
    for chosen, rejected in reversed(pairs):
        client.post("/v1/feedback", json=said(chosen=chosen, rejected=rejected))
    shown = client.get("/v1/users/fay").json()
    model = served.service.serving.model
    profile = model.adapt([Comparison(PROMPT, *pair) for pair in pairs])
    assert shown["answers"] == 4
    assert shown["mean"] == pytest.approx(profile.posterior.mean[0].tolist(), abs=1e-5)
    assert shown["model"] == model.identity


def test_it_counts_once_under_its_key(served: Running) -> None:
    client = served.client()
    first = client.post("/v1/feedback", json=said(idempotency_key="k"))
    again = client.post("/v1/feedback", json=said(), headers={"Idempotency-Key": "k"})
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json()["repeated"]
    assert first.json()["answers"] == again.json()["answers"] == [1]
    other = client.post("/v1/feedback", json=said(idempotency_key="k", weight=0.5))
    assert_error(other, 409, "conflict")
    assert len(log(client, "fay")) == 1


@pytest.mark.parametrize(("value", "side"), [("up", "chosen"), ("down", "rejected")])
def test_a_thumb_is_against_each_other_candidate(
    client: httpx2.Client, value: str, side: str
) -> None:
    user = f"thumb-{value}"
    done = chat(client, user=user, candidates=THREE).json()
    served_text = done["choices"][0]["message"]["content"]
    body = {"type": "thumb", "completion_id": done["id"], "value": value}
    assert client.post("/v1/feedback", json=body).json()["answers"] == [1, 2]
    entries = log(client, user)
    assert [entry["weight"] for entry in entries] == [0.5, 0.5]
    assert {entry[side] for entry in entries} == {served_text}
    assert {entry["completion"] for entry in entries} == {done["id"]}
    assert {entry["origin"] for entry in entries} == {"thumb"}


def test_an_order_is_its_pairs(client: httpx2.Client) -> None:
    body = {"type": "ranking", "user": "order", "prompt": PROMPT, "order": THREE}
    assert len(client.post("/v1/feedback", json=body).json()["answers"]) == 3
    entries = log(client, "order")
    pairs = [(entry["chosen"], entry["rejected"]) for entry in entries]
    assert pairs == [(THREE[0], THREE[1]), (THREE[0], THREE[2]), (THREE[1], THREE[2])]
    assert sum(entry["weight"] for entry in entries) == pytest.approx(2)


def test_places_of_a_completions_candidates(client: httpx2.Client) -> None:
    done = chat(client, user="places", n=3, best_of=3, candidates=THREE).json()
    texts = [one["message"]["content"] for one in done["choices"]]
    by_place = {"type": "comparison", "completion_id": done["id"], "chosen": 2, "rejected": 0}
    assert client.post("/v1/feedback", json=by_place).status_code == 201
    (entry,) = log(client, "places")
    assert (entry["chosen"], entry["rejected"]) == (texts[2], texts[0])
    order = {"type": "ranking", "completion_id": done["id"], "order": [1, 0, 2]}
    assert client.post("/v1/feedback", json=order).status_code == 201


def test_late_and_out_of_order_is_the_same(served: Running) -> None:
    client = served.client()
    bodies = [said(chosen=f"{LIKED} {i}", time=1000.0 + i) for i in range(4)]
    for body in bodies:
        client.post("/v1/feedback", json=body)
    for body in reversed(bodies):
        client.post("/v1/feedback", json=body | {"user": "late"})
    means = [client.get(f"/v1/users/{user}").json()["mean"] for user in ("fay", "late")]
    assert means[0] == means[1]


def test_a_withdrawn_answer_is_as_if_never_given(served: Running) -> None:
    client = served.client()
    client.post("/v1/feedback", json=said())
    before = client.get("/v1/users/fay").json()["mean"]
    number = client.post("/v1/feedback", json=said(chosen="the sky")).json()["answers"][0]
    assert client.get("/v1/users/fay").json()["mean"] != before
    gone = client.delete(f"/v1/users/fay/answers/{number}").json()
    assert (gone["repeated"], gone["answers_left"]) == (False, 1)
    assert client.get("/v1/users/fay").json()["mean"] == before
    assert client.delete(f"/v1/users/fay/answers/{number}").json()["repeated"]
    assert_error(client.delete("/v1/users/fay/answers/99"), 404)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (said(rejected=LIKED), 422),
        (said(chosen=0), 422),
        (said(prompt=None), 422),
        (said(user=None), 422),
        (said(weight=0), 422),
        (said(weight=1.5), 422),
        (said(time=1e300), 422),
        (said(type="shrug"), 422),
        (said(more=1), 422),
        (said(completion_id="chatcmpl-none"), 404),
        ({"type": "thumb", "value": "up"}, 422),
        ({"type": "thumb", "value": "up", "completion_id": "x" * 300}, 422),
        ({"type": "ranking", "user": "u", "prompt": PROMPT, "order": ["one"]}, 422),
        ({"type": "ranking", "user": "u", "prompt": PROMPT, "order": ["one", "one"]}, 422),
        ({"type": "ranking", "user": "u", "prompt": PROMPT, "order": ["w"] * 65}, 422),
        ([], 422),
        (None, 422),
    ],
)
def test_what_says_nothing_is_refused(client: httpx2.Client, body: Any, status: int) -> None:
    assert_error(client.post("/v1/feedback", json=body), status)


def test_of_a_completion_with_one_candidate(client: httpx2.Client) -> None:
    done = chat(client, user="one", candidates=[LIKED]).json()
    thumb = {"type": "thumb", "completion_id": done["id"], "value": "up"}
    error = assert_error(client.post("/v1/feedback", json=thumb), 422)
    assert "best_of" in error["message"]
    place = {"type": "comparison", "completion_id": done["id"], "chosen": 5, "rejected": 0}
    assert assert_error(client.post("/v1/feedback", json=place), 422)["param"] == "chosen"


def test_of_a_completion_of_another_user(client: httpx2.Client) -> None:
    done = chat(client, user="one").json()
    thumb = {"type": "thumb", "completion_id": done["id"], "value": "up", "user": "two"}
    assert_error(client.post("/v1/feedback", json=thumb), 409, "other_user")
