"""An endpoint is asked once, patiently, within its cost, and what it breaks is never kept."""

from __future__ import annotations

import gc
import json
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from palate.alignment import endpoint_retry
from palate.alignment.endpoint import Endpoint
from palate.alignment.endpoint_pool import each
from palate.alignment.endpoint_reply import BrokenReplyError, read_reply
from palate.alignment.endpoint_retry import RefusedError, retry_after
from palate.alignment.endpoint_settings import KEY_VARIABLE, EndpointSettings
from palate.alignment.policy import Request
from palate.alignment.request_cache import RequestCache
from palate.alignment.spending import Billed, Prices, Spending, Tokens
from palate.errors import CacheError, PolicyError, SettingsError
from palate.types import Message
from tests.unit.alignment.stand_in import FAULTS, StandIn, always, once, says, standing_in

PRICES = Prices(prompt=1.0, completion=2.0)
PASSING = [
    *("rate-limited", "overloaded", "malformed", "no choices", "empty", "filtered", "late"),
    *("drip", "cut off"),
]


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint_retry, "FIRST_WAIT", 0.01)
    for name in (KEY_VARIABLE, "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def running() -> Iterator[StandIn]:
    with standing_in() as stand_in:
        yield stand_in


@pytest.fixture
def stand_in(running: StandIn) -> StandIn:
    """The stand-in as new."""
    new = StandIn(url=running.url)
    for name, value in vars(new).items():
        setattr(running, name, value)
    return running


def endpoint(stand_in: StandIn, cache: Path | None = None, **settings: Any) -> Endpoint:
    settings = {"patience": stand_in.patience, "deadline": 10.0, **settings}
    return Endpoint(
        EndpointSettings(stand_in.url, "stand-in", **settings),
        spending=Spending(PRICES),
        cache=None if cache is None else RequestCache(cache / "requests.sqlite"),
    )


# -- what is sent -----------------------------------------------------------------------------


def test_an_answer(stand_in: StandIn) -> None:
    sampled = endpoint(stand_in).sample(Request("how are you?"))
    assert sampled.texts == ("hello",)
    assert (sampled.prompt_tokens, sampled.completion_tokens) == (4, 2)


def test_a_request_as_it_goes_upstream(stand_in: StandIn) -> None:
    asked = Request("why?", 2, system="Be brief.", temperature=0.5, max_tokens=7, seed=3)
    endpoint(stand_in, parameters={"top_k": 5}).sample(asked)
    assert stand_in.log[0].body == {
        "model": "stand-in",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "why?"},
        ],
        "n": 2,
        "temperature": 0.5,
        "max_tokens": 7,
        "seed": 3,
        "top_k": 5,
    }


def test_a_conversation_keeps_its_turns(stand_in: StandIn) -> None:
    turns = (Message("user", "a"), Message("assistant", "b"), Message("user", "c"))
    endpoint(stand_in).sample(Request(turns))
    roles = [turn["role"] for turn in stand_in.log[0].body["messages"]]
    assert roles == ["user", "assistant", "user"]


def test_fields_that_a_model_refuses_are_left_out(stand_in: StandIn) -> None:
    unsent = {"temperature": None, "seed": None, "n": None}
    endpoint(stand_in, limit="max_completion_tokens", parameters=unsent).sample(Request("why?"))
    assert set(stand_in.log[0].body) == {"model", "messages", "max_completion_tokens"}


def test_what_openai_itself_calls_the_limit() -> None:
    for url, limit in (
        ("https://api.openai.com/v1", "max_completion_tokens"),
        ("http://127.0.0.1:8000/v1", "max_tokens"),
        ("https://api.openai.com.example.org/v1", "max_tokens"),
    ):
        assert EndpointSettings(url, "m").limit_name == limit


def test_a_key_is_sent_and_nowhere_else(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "secret-1")
    monkeypatch.setenv("OPENAI_API_KEY", "secret-2")
    one = endpoint(stand_in)
    one.sample(Request("why?"))
    assert stand_in.log[0].headers["authorization"] == "Bearer secret-1"
    assert "secret" not in f"{one.name} {one.settings} {stand_in.log[0].body}"


def test_the_key_for_openai_goes_to_no_other_address(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    monkeypatch.setenv("OPENAI_ORG_ID", "secret-organisation")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "secret-project")
    endpoint(stand_in).sample(Request("why?"))
    assert stand_in.log[0].headers["authorization"] == "Bearer none"
    assert "secret" not in str(stand_in.log[0].headers)


def test_several_answers_at_once(stand_in: StandIn) -> None:
    stand_in.speaker = lambda body, choice: f"answer {choice}"
    sampled = endpoint(stand_in).sample(Request("why?", count=3))
    assert sampled.texts == ("answer 0", "answer 1", "answer 2")
    assert len(stand_in.log) == 1


def test_an_endpoint_that_gives_one_answer_at_a_time(stand_in: StandIn) -> None:
    stand_in.most_choices = 1
    stand_in.speaker = lambda body, choice: f"by seed {body['seed']}"
    sampled = endpoint(stand_in).sample(Request("why?", count=3, seed=7))
    assert sampled.texts == ("by seed 7", "by seed 8", "by seed 9")
    assert [one.body["n"] for one in stand_in.log] == [3, 1, 1]
    assert sampled.prompt_tokens == 3 * 2


# -- the cache --------------------------------------------------------------------------------


def test_an_equal_request_is_not_sent_again(stand_in: StandIn, tmp_path: Path) -> None:
    first = endpoint(stand_in, tmp_path).sample(Request("why?", count=2))
    again = endpoint(stand_in, tmp_path)
    assert again.sample(Request("why?", count=2)) == first
    assert len(stand_in.log) == 1
    assert again.spending.attempts == 0


@pytest.mark.parametrize(
    "other",
    [
        Request("how?"),
        Request("why?", count=2),
        Request("why?", system="Be brief."),
        Request("why?", temperature=0.5),
        Request("why?", max_tokens=7),
        Request("why?", seed=1),
        Request((Message("user", "why?"), Message("user", "why?"))),
    ],
)
def test_another_request_is_sent(stand_in: StandIn, tmp_path: Path, other: Request) -> None:
    one = endpoint(stand_in, tmp_path)
    one.sample(Request("why?"))
    one.sample(other)
    assert len(stand_in.log) == 2


def test_another_model_is_asked_anew(stand_in: StandIn, tmp_path: Path) -> None:
    endpoint(stand_in, tmp_path).sample(Request("why?"))
    endpoint(stand_in, tmp_path, parameters={"top_k": 3}).sample(Request("why?"))
    settings = EndpointSettings(stand_in.url, "another")
    Endpoint(settings, cache=RequestCache(tmp_path / "requests.sqlite")).sample(Request("why?"))
    assert len(stand_in.log) == 3


def test_equal_requests_at_the_same_time_are_sent_once(stand_in: StandIn, tmp_path: Path) -> None:
    stand_in.manner = always("slow")
    one = endpoint(stand_in, tmp_path)
    with ThreadPoolExecutor(8) as pool:
        sampled = list(pool.map(one.sample, [Request("why?")] * 8))
    assert len({one.texts for one in sampled}) == 1
    assert len(stand_in.log) == 1


@pytest.mark.parametrize("fault", [*PASSING, "bad request", "unauthorised", "no quota"])
def test_a_broken_answer_is_never_kept(stand_in: StandIn, tmp_path: Path, fault: str) -> None:
    stand_in.manner = always(fault)
    one = endpoint(stand_in, tmp_path, tries=1)
    with pytest.raises(PolicyError):
        one.sample(Request("why?"))
    assert one.cache is not None
    assert len(one.cache) == 0
    stand_in.manner = always("good")
    assert one.sample(Request("why?")).texts == ("hello",)


def test_half_of_several_answers_is_not_kept(stand_in: StandIn, tmp_path: Path) -> None:
    stand_in.most_choices = 1
    stand_in.manner = lambda body, number: "good" if body["seed"] == 0 else "bad request"
    one = endpoint(stand_in, tmp_path)
    with pytest.raises(PolicyError):
        one.sample(Request("why?", count=2))
    assert one.cache is not None
    assert len(one.cache) == 0


def test_a_cache_of_something_else(stand_in: StandIn, tmp_path: Path) -> None:
    one = endpoint(stand_in, tmp_path)
    assert one.cache is not None
    one.cache.write(one._key(Request("why?")), {"outcome": "answered"})
    with pytest.raises(CacheError, match="damaged"):
        one.sample(Request("why?"))


# -- failures ---------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", PASSING)
def test_what_passes_is_tried_again(stand_in: StandIn, fault: str) -> None:
    stand_in.manner = once(fault)
    assert endpoint(stand_in).sample(Request("why?")).texts == ("hello",)
    assert [one.manner for one in stand_in.log] == [fault, "good"]


@pytest.mark.parametrize("fault", PASSING)
def test_what_does_not_pass_ends(stand_in: StandIn, fault: str) -> None:
    stand_in.manner = always(fault)
    with pytest.raises(PolicyError, match=r"stand-in at http.* no answer in 3 of 3 tries .*last: "):
        endpoint(stand_in, tries=3).sample(Request("why?"))
    assert len(stand_in.log) == 3


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("unauthorised", "refuses all requests: status 401.*no such key"),
        ("no quota", "refuses all requests: status 429.*pay first"),
        ("bad request", "refuses this request: status 400.*the prompt is too long"),
    ],
)
def test_a_refusal_is_not_asked_again(stand_in: StandIn, fault: str, words: str) -> None:
    stand_in.manner = always(fault)
    with pytest.raises(PolicyError, match=words) as raised:
        endpoint(stand_in).sample(Request("why?"))
    assert len(stand_in.log) == 1
    assert isinstance(raised.value, RefusedError) == (fault != "bad request")


def test_a_server_that_asks_to_wait_is_left_alone(stand_in: StandIn) -> None:
    stand_in.manner, stand_in.retry_after = once("rate-limited"), "1"
    started = time.monotonic()
    endpoint(stand_in).sample(Request("why?"))
    assert 1 <= time.monotonic() - started < 8


def test_a_wait_beyond_the_deadline_is_not_begun(stand_in: StandIn) -> None:
    stand_in.manner, stand_in.retry_after = always("rate-limited"), "3600"
    started = time.monotonic()
    with pytest.raises(PolicyError, match=r"1 of 5 tries .*come 3600 s later"):
        endpoint(stand_in).sample(Request("why?"))
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("fault", ["late", "drip"])
def test_the_deadline_holds_for_all_tries(stand_in: StandIn, fault: str) -> None:
    stand_in.manner, stand_in.patience = always(fault), 5.0
    started = time.monotonic()
    with pytest.raises(PolicyError, match=r"within 0.6 s"):
        endpoint(stand_in, patience=0.25, deadline=0.6, tries=100).sample(Request("why?"))
    assert time.monotonic() - started < 8  # one answer takes ten seconds or more


def test_an_endpoint_closes_its_connections(stand_in: StandIn) -> None:
    one = endpoint(stand_in)
    one.sample(Request("why?"))
    connections = one._client
    assert not connections.is_closed()
    del one
    gc.collect()
    assert connections.is_closed()


def test_nobody_listens() -> None:
    spending = Spending(PRICES)
    settings = EndpointSettings("http://127.0.0.1:9/v1", "m", tries=2)
    with pytest.raises(PolicyError, match="in 2 of 2 tries"):
        Endpoint(settings, spending=spending).sample(Request("why?"))
    assert spending.cost_at_most == 0
    assert spending.attempts == 2


def test_no_more_than_so_many_at_once(stand_in: StandIn) -> None:
    stand_in.manner = always("slow")
    one = endpoint(stand_in, concurrency=3)
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(one.sample, [Request(f"question {i}") for i in range(24)]))
    assert stand_in.most_at_once == 3


def test_waiting_for_a_place_ends_too(stand_in: StandIn) -> None:
    stand_in.manner, stand_in.slowness = always("slow"), 1.0
    one = endpoint(stand_in, concurrency=1, patience=5.0, deadline=0.5, tries=1)
    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(one.sample, Request(f"question {i}")) for i in range(2)]
        errors = sorted(str(future.exception()) for future in futures)
    assert any("busy" in words for words in errors)


def test_half_a_character_is_refused_before_it_is_sent(stand_in: StandIn) -> None:
    with pytest.raises(PolicyError, match="half a character"):
        endpoint(stand_in).sample(Request("why \ud83d?"))
    assert not stand_in.log


# -- what it costs ----------------------------------------------------------------------------


def test_an_endpoint_is_billed(stand_in: StandIn) -> None:
    assert isinstance(endpoint(stand_in), Billed)


@pytest.mark.parametrize("manner", sorted(FAULTS))
def test_the_cost_is_between_what_is_told_and_at_most(stand_in: StandIn, manner: str) -> None:
    stand_in.manner = once(manner)
    one = endpoint(stand_in)
    try:
        one.sample(Request("why is that so?", count=2))
    except PolicyError:
        assert manner in ("unauthorised", "no quota", "bad request")
    billed = [Tokens(one.prompt_tokens, one.completion_tokens) for one in stand_in.log if one.bills]
    bill = PRICES.of(sum(billed, Tokens()))
    assert one.spending.cost <= bill <= one.spending.cost_at_most
    if not FAULTS[manner] and manner != "overloaded":
        assert one.spending.cost == one.spending.cost_at_most


@pytest.mark.parametrize("text", ["why?", "ünïcödé 字", "word " * 500, "\x00"])
@pytest.mark.parametrize("most_choices", [1, 100])
def test_the_bound_holds(stand_in: StandIn, text: str, most_choices: int) -> None:
    stand_in.most_choices = most_choices
    one = endpoint(stand_in)
    request = Request(text, count=3, system="Be brief.", max_tokens=3)
    one.sample(request)
    bound = one.bound([request])
    assert one.spending.billed.prompt <= bound.prompt
    assert one.spending.billed.completion <= bound.completion
    assert one.spending.excessive == 0


def test_what_is_known_or_asked_twice_costs_once(stand_in: StandIn, tmp_path: Path) -> None:
    one = endpoint(stand_in, tmp_path)
    new = one.bound([Request("why?")])
    assert new.completion == 512
    assert one.bound([Request("why?"), Request("why?")]) == new
    one.sample(Request("why?"))
    assert one.bound([Request("why?")]) == Tokens()


def test_nothing_is_sent_above_the_budget(stand_in: StandIn) -> None:
    one = Endpoint(EndpointSettings(stand_in.url, "m"), spending=Spending(PRICES, budget=1e-6))
    with pytest.raises(PolicyError, match="is not sent"):
        one.sample(Request("why?"))
    assert not stand_in.log


def test_tries_stop_at_the_budget(stand_in: StandIn) -> None:
    stand_in.manner = always("cut off")
    one = endpoint(stand_in, tries=50)
    one.spending.announce(one.bound([Request("why?")]).times(3))
    with pytest.raises(PolicyError, match="is not sent"):
        one.sample(Request("why?"))
    assert len(stand_in.log) == 3
    assert one.spending.cost_at_most <= one.spending.ceiling


# -- settings ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"url": "127.0.0.1:8000"}, "expected one as http"),
        ({"url": "file:///etc/passwd"}, "expected one as http"),
        ({"url": "http://user:key@host/v1"}, f"set {KEY_VARIABLE}"),
        ({"url": "http://host/v1?key=secret"}, f"set {KEY_VARIABLE}"),
        ({"model": " "}, "model is empty"),
        ({"tries": 0}, "tries 0"),
        ({"concurrency": 0}, "concurrency is 0"),
        ({"deadline": 0.0}, "deadline is 0"),
        ({"patience": float("nan")}, "patience is nan"),
        ({"parameters": {"user": "alice"}}, "parameters hold user"),
        ({"parameters": {"stream": True, "model": "m"}}, "parameters hold model, stream"),
        ({"parameters": {"n": 2}}, "parameters hold n"),
        ({"url": "http://host:many/v1"}, "expected one as http"),
        ({"url": "http://[::1/v1"}, "expected one as http"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        EndpointSettings(**{"url": "http://host/v1", "model": "m", **settings})


def test_without_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(PolicyError, match=r"pip install 'palate\[align\]'"):
        Endpoint(EndpointSettings("http://host/v1", "m"))


# -- replies ----------------------------------------------------------------------------------


def completion(**changes: Any) -> bytes:
    choice = {"message": {"content": "hello"}, "finish_reason": "stop"} | changes
    usage = {"prompt_tokens": 3, "completion_tokens": 2}
    return json.dumps({"choices": [choice], "usage": usage}).encode()


def test_a_reply() -> None:
    assert read_reply(completion(), 1) == read_reply(completion(finish_reason=None), 1)
    assert read_reply(completion(finish_reason="length"), 1).usage == Tokens(3, 2)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "not whole JSON"),
        (b"<html>Bad gateway</html>", "Bad gateway"),
        (b"\xff\xfe", "not whole JSON"),
        (b"[" * 100_000, "not whole JSON"),
        (b"[]", "a JSON list"),
        (b"null", "a JSON NoneType"),
        (b"{}", "'choices' is missing"),
        (b'{"choices": {"0": 1}}', "holds no choice"),
        (b'{"choices": [null]}', "no chat completion"),
        (b'{"choices": ["hello"]}', "no chat completion"),
        (completion(message=None), "no chat completion"),
        (completion(message={"content": ["hello"]}), "not a text"),
        (completion(message={"content": " \n"}), "not a text"),
        (completion(message={"content": "half \ud800"}), "half a character"),
        (completion(finish_reason="content_filter"), "content_filter"),
        (completion(finish_reason="tool_calls"), "tool_calls"),
    ],
)
def test_a_broken_reply(body: bytes, words: str) -> None:
    with pytest.raises(BrokenReplyError, match=words):
        read_reply(body, 1)


def test_a_broken_reply_that_is_billed_says_so() -> None:
    with pytest.raises(BrokenReplyError) as raised:
        read_reply(completion(message=None), 1)
    assert raised.value.usage == Tokens(3, 2)


@pytest.mark.parametrize(
    "usage",
    [
        None,
        [],
        {},
        {"prompt_tokens": 3},
        {"prompt_tokens": -1, "completion_tokens": 2},
        {"prompt_tokens": True, "completion_tokens": 2},
        {"prompt_tokens": "3", "completion_tokens": 2},
    ],
)
def test_usage_that_says_nothing(usage: Any) -> None:
    body = json.loads(completion()) | {"usage": usage}
    assert read_reply(json.dumps(body).encode(), 1).usage is None


def test_more_answers_than_were_asked_for_are_left() -> None:
    body = json.loads(completion())
    body["choices"] *= 3
    assert read_reply(json.dumps(body).encode(), 2).texts == ("hello", "hello")


# -- waits ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "2"}, 0.25),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:30 GMT"}, 20.0),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:05 GMT"}, 0.0),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "soon"}, None),
        ({}, None),
    ],
)
def test_how_long_a_server_asks_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, now=10.0) == seconds


# -- many at once -----------------------------------------------------------------------------


def test_every_item_once() -> None:
    assert sorted(each(lambda item: 2 * item, range(100), 7)) == [(i, 2 * i) for i in range(100)]
    assert list(each(str, [], 7)) == []


def test_an_error_ends_the_rest() -> None:
    done = []

    def work(item: int) -> None:
        done.append(item)
        time.sleep(0.002)
        if item == 3:
            raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        list(each(work, range(1000), 2))
    assert len(done) < 50


def test_what_is_under_way_may_end() -> None:
    ended = []
    begun = threading.Event()

    def work(item: int) -> int:
        if item:
            begun.set()
            time.sleep(0.1)
        ended.append(item)
        return item

    def leave() -> None:
        for _ in each(work, range(100), 2):
            begun.wait()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        leave()
    assert 2 <= len(ended) <= 4


def test_what_hangs_is_left_after_the_grace() -> None:
    release = threading.Event()
    started = time.monotonic()

    def leave() -> None:
        for _ in each(lambda item: release.wait(30) if item else None, [0, 1], 2, grace=0.1):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        leave()
    assert time.monotonic() - started < 5
    release.set()


def test_a_whole_world_of_answers(stand_in: StandIn) -> None:
    stand_in.speaker = says("naïve 字 \x00 ok")
    assert endpoint(stand_in).sample(Request("why?")).texts == ("naïve 字 \x00 ok",)
