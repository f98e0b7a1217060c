"""Users over HTTP: shown, exported, asked, and erased without a trace."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from palate.features.cache import FeatureCache, text_key
from tests.service.http.world import (
    DISLIKED,
    LIKED,
    PROMPT,
    Running,
    assert_error,
    chat,
    running,
    settings_of,
    teach,
)

SECRETS = ["zebra light secret", "zebra bed secret", "zebra question secret"]


@pytest.fixture
def client(shared: Running) -> httpx2.Client:
    return shared.client()


def test_a_user_is_shown(client: httpx2.Client) -> None:
    teach(client, 3, "una")
    shown = client.get("/v1/users/una").json()
    assert (shown["user"], shown["answers"], shown["method"]) == ("una", 3, "vrf")
    assert len(shown["mean"]) == len(shown["sd"])
    assert shown["uncertainty"] > 0


def test_answers_page_by_page(client: httpx2.Client) -> None:
    teach(client, 5, "page")
    first = client.get("/v1/users/page/answers", params={"limit": 3}).json()
    assert ([one["number"] for one in first["data"]], first["has_more"]) == ([1, 2, 3], True)
    rest = client.get("/v1/users/page/answers", params={"after": 3, "limit": 3}).json()
    assert ([one["number"] for one in rest["data"]], rest["has_more"]) == ([4, 5], False)
    one = client.get("/v1/users/page/answers/4").json()
    assert one == rest["data"][0]


def test_users_page_by_page(served: Running) -> None:
    client = served.client()
    for name in ("a", "b b", "ü%2F"):
        chat(client, user=name)
    assert client.get("/v1/users", params={"limit": 2}).json()["data"] == ["a", "b b"]
    rest = client.get("/v1/users", params={"after": "b b"}).json()
    assert rest == {"object": "list", "data": ["ü%2F"], "has_more": False}


def test_an_export_has_it_all(client: httpx2.Client) -> None:
    teach(client, 2, "eve")
    done = chat(client, user="eve").json()
    content = client.get("/v1/users/eve/export").json()
    assert len(content["entries"]) == 2
    (served,) = content["completions"]
    assert served["id"] == done["id"]
    assert sorted(served["candidates"]) == sorted([LIKED, DISLIKED])


def test_the_best_question_of_a_pool(client: httpx2.Client) -> None:
    pool = [
        {"prompt": PROMPT, "response_a": LIKED, "response_b": other}
        for other in (DISLIKED, "read a book", "more than red")
    ]
    content = client.post("/v1/users/quin/question", json={"pool": pool, "count": 2}).json()
    first, second = content["data"]
    assert first["score"] >= second["score"]
    assert pool[first["index"]] == {name: first[name] for name in pool[0]}
    assert 0 < first["p_a"] < 1
    answer = {"type": "comparison", "user": "quin", "prompt": PROMPT}
    answer |= {"chosen": first["response_a"], "rejected": first["response_b"]}
    client.post("/v1/feedback", json=answer)
    again = client.post("/v1/users/quin/question", json={"pool": pool, "count": 3}).json()
    assert first["index"] not in [one["index"] for one in again["data"]]


def test_the_best_question_of_what_was_served(client: httpx2.Client) -> None:
    assert_error(client.post("/v1/users/sam/question", json={}), 404)
    chat(client, user="sam", candidates=[LIKED, DISLIKED, "read a book"])
    (asked,) = client.post("/v1/users/sam/question", json={}).json()["data"]
    assert {asked["response_a"], asked["response_b"]} < {LIKED, DISLIKED, "read a book"}


@pytest.fixture
def alone(runs: Path, tmp_path: Path) -> Iterator[Running]:
    with running(settings_of(runs, tmp_path, cache=str(tmp_path / "features"))) as here:
        yield here


def traces(folder: Path) -> list[str]:
    """Files that hold something of the secret texts."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return [path.name for path in files if b"zebra" in path.read_bytes()]


def test_erased_is_found_nowhere(
    alone: Running, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Not in the database's files, not in the caches, not in the logs."""
    logging.getLogger("uvicorn").setLevel(logging.DEBUG)
    client = alone.client()
    chat(client, user="zed", candidates=SECRETS)
    body = {"type": "ranking", "user": "zed", "prompt": PROMPT, "order": SECRETS}
    client.post("/v1/feedback", json=body)
    client.post("/v1/feedback", json=body | {"order": [7]})  # an error, which is logged
    client.get("/v1/users/zed")
    assert traces(tmp_path)  # so that a trace would be seen
    source = alone.service.serving.source
    keys = [text_key(PROMPT, text) for text in SECRETS]
    other = FeatureCache(source.folder, "another")
    other.write(keys, *(source.cache.read(keys)[i] for i in (1, 2)))
    gone = client.delete("/v1/users/zed").json()
    assert (gone["answers"], gone["completions"], gone["traces"]) == (3, 1, False)
    assert traces(tmp_path) == []
    for cache in (source.cache, FeatureCache(source.folder, source.cache.path.stem), other):
        assert len(cache.read(keys)[0]) == 0
    log = capfd.readouterr()
    assert "zebra" not in log.out + log.err
    assert "zed" not in log.out + log.err
    assert_error(client.get("/v1/users/zed"), 404)
    assert client.get("/v1/users").json()["data"] == []
    teach(client, 1, "zed")  # is another one now
    assert client.get("/v1/users/zed").json()["answers"] == 1


def test_a_profile_is_never_older_than_the_log(alone: Running) -> None:
    """What is kept ready in memory follows what another worker wrote."""
    client, service = alone.client(), alone.service
    teach(client, 1, "wes")
    assert client.get("/v1/users/wes").json()["answers"] == 1
    tenant = service.store.tenants.named("default").id
    service.serving.tastes.withdraw(tenant, "wes", 1)
    assert client.get("/v1/users/wes").json()["answers"] == 0
    service.store.users.erase(tenant, "wes")
    score = {"user": "wes", "prompt": PROMPT, "responses": [LIKED]}
    assert client.post("/v1/score", json=score).json()["answers"] == 0
