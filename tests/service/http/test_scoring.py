"""/v1/rerank and /v1/score say what the library says."""

from __future__ import annotations

import math

import httpx2
import pytest

from tests.service.http.world import DISLIKED, LIKED, PROMPT, Running, teach

TEXTS = [DISLIKED, LIKED, "read a book"]


@pytest.fixture
def client(shared: Running) -> httpx2.Client:
    return shared.client()


def test_scores_are_the_models(shared: Running, client: httpx2.Client) -> None:
    teach(client, 4, "ada")
    content = client.post(
        "/v1/score", json={"user": "ada", "prompt": PROMPT, "responses": TEXTS}
    ).json()
    serving = shared.service.serving
    tenant = shared.service.store.tenants.named("default").id
    rewards = serving.reward(PROMPT, TEXTS, serving.tastes.profile(tenant, "ada"))
    assert [one["score"] for one in content["data"]] == pytest.approx(rewards.mean.tolist())
    assert rewards.sd is not None
    assert [one["sd"] for one in content["data"]] == pytest.approx(rewards.sd.tolist())
    assert content["answers"] == 4
    assert content["model"] == serving.model.identity


def test_rerank_orders_by_the_same_rewards(client: httpx2.Client) -> None:
    teach(client, 4, "bea")
    body = {"user": "bea", "prompt": PROMPT, "responses": TEXTS}
    scores = [one["score"] for one in client.post("/v1/score", json=body).json()["data"]]
    body = {"user": "bea", "query": PROMPT, "documents": [TEXTS[0], {"text": TEXTS[1]}, TEXTS[2]]}
    content = client.post("/v1/rerank", json=body).json()
    assert content["id"].startswith("rerank-")
    results = content["results"]
    assert [one["index"] for one in results] == sorted(range(3), key=lambda i: -scores[i])
    for one in results:
        assert one["document"] == {"text": TEXTS[one["index"]]}
        assert one["relevance_score"] == pytest.approx(1 / (1 + math.exp(-scores[one["index"]])))
        assert one["reward"] == pytest.approx(scores[one["index"]], abs=1e-5)
    assert sum(one["p_best"] for one in results) == pytest.approx(1, abs=1e-5)


def test_the_first_of_a_ranking(client: httpx2.Client) -> None:
    body = {"user": "bea", "query": PROMPT, "documents": TEXTS, "top_n": 2}
    results = client.post("/v1/rerank", json=body | {"return_documents": False}).json()["results"]
    assert len(results) == 2
    assert "document" not in results[0]


def test_conversations_are_texts(client: httpx2.Client) -> None:
    turns = [{"role": "system", "content": "keep cool"}, {"role": "user", "content": PROMPT}]
    one, other = (
        client.post("/v1/score", json={"user": "c", "prompt": prompt, "responses": [LIKED]}).json()
        for prompt in (turns, PROMPT)
    )
    assert one["data"][0]["score"] != other["data"][0]["score"]
