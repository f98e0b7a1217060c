"""Role-play annotators: pairs as PReF makes them, both orders, a data set that loads, no loss."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from palate import PreferenceData
from palate.alignment import endpoint_retry
from palate.alignment.annotators import (
    CARD,
    COMPARISONS,
    JUDGEMENTS,
    AnnotationSettings,
    Annotators,
)
from palate.alignment.annotators_pairs import (
    ALIKE,
    UNWRITTEN,
    Asked,
    Pairs,
    attributes_people,
    attributes_requests,
)
from palate.alignment.annotators_prompts import read_asked
from palate.alignment.endpoint import Endpoint
from palate.alignment.endpoint_settings import EndpointSettings
from palate.alignment.judge_prompts import prompt_named
from palate.alignment.policy import Request, Sampled
from palate.alignment.spending import Prices, Spending
from palate.data.benchmarks.prism_roleplay import UNREAD
from palate.data.benchmarks.role_play import Person
from palate.data.checks import inspect_file
from palate.data.synthetic.attributes import ATTRIBUTES
from palate.errors import DataError, PolicyError, SettingsError
from tests.unit.alignment.stand_in import StandIn, drawn_manner, standing_in

ASKED = [Asked("why is the sky blue?"), Asked("how do I bake bread?"), Asked("what is a lever?")]
PEOPLE = [Person(f"person-{i}", f"Likes answers number {i}.") for i in range(6)]
DIRECTIONS = {word for one in ATTRIBUTES for word in (one.positive, one.negative)}


def liked(text: str) -> set[str]:
    """The traits that a text names."""
    return DIRECTIONS & set(re.findall(r"[a-z]+", text))


def speak(body: dict[str, Any], choice: int) -> str:
    """Writes the traits that it is told to have, judges by them, and revises by adding words."""
    turns = {turn["role"]: turn["content"] for turn in body["messages"]}
    if "system" in turns:
        traits = re.findall(r"Let your answer be (\w+) and (\w+)", turns["system"])[0]
        return f"{turns['user']} in a way that is {' and '.join(traits)}"
    shown = re.findall(r"<response_\d_\w+>\n(.*?)\n</response_\d_", turns["user"])
    if shown:
        person = turns["user"].split("<person>")[1].split("</person>")[0]
        scores = [len(liked(text) & liked(person)) - 0.01 * i for i, text in enumerate(shown)]
        return f"Verdict: {1 if scores[0] > scores[1] else 2}"
    if "<critique>" in turns["user"]:
        return "the response, revised"
    if "<response>" in turns["user"]:
        return "less of this"
    return f"plain answer to {turns['user']}"


class Local:
    """A policy on this machine that speaks as the stand-in does."""

    name = "local"

    def sample(self, request: Request) -> Sampled:
        turns = [{"role": "system", "content": request.system}] if request.system else []
        turns.append({"role": "user", "content": str(request.prompt)})
        return Sampled((speak({"messages": turns}, 0),), 1, 1)


class Mute(Local):
    """Has nothing to say where it is to be verbose."""

    name = "mute"

    def sample(self, request: Request) -> Sampled:
        verbose = "verbose" in str(request.system)
        return Sampled((" ",), 1, 1) if verbose else super().sample(request)


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    monkeypatch.setattr(endpoint_retry, "FIRST_WAIT", 0.01)
    with standing_in(StandIn(speaker=speak)) as running:
        yield running


def annotators(
    stand_in: StandIn,
    folder: Path,
    people: Sequence[Person] | None = None,
    budget: float | None = None,
    **settings: Any,
) -> Annotators:
    asked = EndpointSettings(stand_in.url, "m", patience=stand_in.patience, deadline=20.0)
    policy = Endpoint(asked, spending=Spending(Prices(1.0, 2.0), budget))
    return Annotators(policy, policy, folder, AnnotationSettings(**settings), people)


def spending(one: Annotators) -> Spending:
    policy = one._writer.policy
    assert isinstance(policy, Endpoint)
    return policy.spending


# -- people and pairs -------------------------------------------------------------------------


def test_the_people_of_the_attributes_protocol() -> None:
    people = attributes_people()
    assert len({person.description for person in people}) == 84
    assert len({person.user_id for person in people}) == 84
    assert all(len(liked(person.description)) == 2 for person in people)


def test_the_responses_of_a_pair_contrast() -> None:
    requests = attributes_requests([Asked(f"prompt {i}") for i in range(50)], seed=3)
    drawn = Counter[str]()
    for first, second in zip(requests[::2], requests[1::2], strict=True):
        assert first.prompt == second.prompt
        traits = [liked(str(one.system)) for one in (first, second)]
        assert not traits[0] & traits[1]
        assert len(traits[0]) == len(traits[1]) == 2
        drawn.update(traits[0] | traits[1])
    assert set(drawn) == DIRECTIONS


def test_the_same_seed_asks_for_the_same() -> None:
    assert attributes_requests(ASKED, 1) == attributes_requests(ASKED, 1)
    assert attributes_requests(ASKED, 1) != attributes_requests(ASKED, 2)
    assert attributes_requests(ASKED[1:], 1) == attributes_requests(ASKED, 1)[2:]


def test_prompts_have_a_place_for_every_text() -> None:
    places = {
        "attributes_response_v1": {"first", "second"},
        "revision_critique_v1": {"person", "prompt", "response"},
        "revision_v1": {"person", "prompt", "response", "critique"},
    }
    for name, expected in places.items():
        assert set(prompt_named(name).get_identifiers()) == expected


def test_pairs_without_both_responses_are_counted() -> None:
    pairs = Pairs.of([("a", "x", "y"), ("b", None, "y"), ("c", "x", "x"), ("d", None, None)])
    assert pairs.pairs == (("a", "x", "y"),)
    assert pairs.left_out == {UNWRITTEN: 2, ALIKE: 1}


# -- a whole annotation -----------------------------------------------------------------------


def test_the_attributes_protocol(tmp_path: Path) -> None:
    one = Annotators(Local(), Local(), tmp_path)
    annotated = one.run(ASKED)
    assert len(annotated.judgements) == 3 * 84
    assert annotated.judged.account.asked == 2 * 3 * 84
    by_user = {person.user_id: person.description for person in attributes_people()}
    assert len(annotated.comparisons) > 50
    for row in annotated.comparisons:
        likes = liked(by_user[row["user_id"]])
        assert len(liked(row["chosen"]) & likes) > len(liked(row["rejected"]) & likes)
    disagree = annotated.left_out["judgements that change with the order"]
    assert disagree + len(annotated.comparisons) == len(annotated.judgements)


def test_the_prism_protocol(stand_in: StandIn, tmp_path: Path) -> None:
    asked = [Asked("why?", "because"), Asked("how?")]
    one = annotators(stand_in, tmp_path, PEOPLE, protocol="prism", judges=4)
    annotated = one.run(asked)
    assert len(annotated.judgements) == 2 * 4
    texts = {(row["prompt"], row["response_a"]) for row in annotated.judgements}
    assert texts == {("why?", "because"), ("how?", "plain answer to how?")}
    assert {row["response_b"] for row in annotated.judgements} == {"the response, revised"}
    sent = [turn["content"] for log in stand_in.log for turn in log.body["messages"]]
    critiques = [text for text in sent if "<critique>" in text]
    assert len(critiques) == 2
    assert all("less of this" in text for text in critiques)


def test_what_is_written_loads_and_passes_the_check(tmp_path: Path) -> None:
    one = Annotators(Local(), Local(), tmp_path)
    annotated = one.run(ASKED)
    written = one.write(annotated)
    assert set(written) == {JUDGEMENTS, COMPARISONS, CARD}
    report = inspect_file(tmp_path / COMPARISONS)
    assert report.sound
    data = PreferenceData.load(tmp_path / COMPARISONS)
    assert len(data) == len(annotated.comparisons)
    lines = (tmp_path / JUDGEMENTS).read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == annotated.judgements
    card = json.loads((tmp_path / CARD).read_text(encoding="utf-8"))
    assert card["account"]["asked"] == 504
    assert card["settings"]["protocol"] == "attributes"


def test_users_never_go_upstream(stand_in: StandIn, tmp_path: Path) -> None:
    annotators(stand_in, tmp_path, PEOPLE, protocol="prism", judges=6).run(ASKED)
    assert "person-" not in json.dumps([one.body for one in stand_in.log])


# -- cost, stops and failures -----------------------------------------------------------------


def test_the_cost_is_told_before_anything_is_sent(stand_in: StandIn, tmp_path: Path) -> None:
    asked = ASKED[:1]
    for folder, people, settings in (
        ("a", None, {}),
        ("b", PEOPLE, {"protocol": "prism", "judges": 3}),
    ):
        stand_in.log.clear()
        one = annotators(stand_in, tmp_path / folder, people, **settings)
        announced = one.announce(asked)
        assert not stand_in.log
        annotated = one.run(asked)
        assert announced.questions == annotated.judged.account.asked
        assert announced.texts + announced.questions == len(stand_in.log)
        assert 0 < spending(one).cost_at_most <= announced.cost
        assert f"{announced.texts} texts to write and {announced.questions} q" in str(announced)


def test_too_small_a_budget_sends_nothing(stand_in: StandIn, tmp_path: Path) -> None:
    whole = annotators(stand_in, tmp_path).announce(ASKED[:1]).cost
    one = annotators(stand_in, tmp_path, budget=0.9 * whole)
    with pytest.raises(PolicyError, match="raise the budget"):
        one.run(ASKED[:1])
    assert not stand_in.log
    annotators(stand_in, tmp_path, budget=whole).run(ASKED[:1])


def test_a_second_run_asks_nothing(stand_in: StandIn, tmp_path: Path) -> None:
    first = annotators(stand_in, tmp_path).run(ASKED[:1])
    sent = len(stand_in.log)
    again = annotators(stand_in, tmp_path, budget=0.0)
    assert str(again.announce(ASKED[:1])).startswith("0 texts to write and 0 questions to ask")
    assert again.run(ASKED[:1]).judgements == first.judgements
    assert len(stand_in.log) == sent


class Stop:
    """Presses Ctrl-C in a step, after so many."""

    def __init__(self, step: str, after: int) -> None:
        self.step, self.after = step, after

    def track(self, step: str, total: int) -> Any:
        from contextlib import contextmanager

        @contextmanager
        def tracked() -> Iterator[Any]:
            yield self._advance if step == self.step else lambda done: None

        return tracked()

    def _advance(self, done: int) -> None:
        self.after -= done
        if self.after <= 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("step", ["writing responses", "writing revisions", "judging"])
def test_a_stopped_run_goes_on_without_asking_again(
    stand_in: StandIn, tmp_path: Path, step: str
) -> None:
    settings = {"protocol": "prism", "judges": 5}
    whole = annotators(stand_in, tmp_path / "whole", PEOPLE, **settings).run(ASKED)
    sent = len(stand_in.log)
    stand_in.log.clear()
    with pytest.raises(KeyboardInterrupt):
        annotators(stand_in, tmp_path, PEOPLE, **settings).run(ASKED, Stop(step, 1))
    assert 0 < len(stand_in.log) < sent
    again = annotators(stand_in, tmp_path, PEOPLE, **settings).run(ASKED)
    assert again.judgements == whole.judgements
    assert len(stand_in.log) == sent
    assert {one.number for one in stand_in.log} <= {1}


def test_whatever_fails_is_counted(stand_in: StandIn, tmp_path: Path) -> None:
    stand_in.manner = drawn_manner({"unreadable": 0.2, "bad request": 0.2}, seed=5)
    annotated = annotators(stand_in, tmp_path).run([Asked(f"prompt {i}") for i in range(4)])
    account, left_out = annotated.judged.account, annotated.left_out
    assert left_out[UNWRITTEN] > 0
    assert len(annotated.judgements) + 84 * left_out[UNWRITTEN] == 4 * 84
    assert account.failed > 0
    assert account.asked == account.answered + account.malformed + account.failed
    unread = sum(row["a_first"] is None for row in annotated.judgements)
    assert left_out[UNREAD] == unread > 0


def test_nothing_written_is_an_empty_data_set_that_says_why(
    stand_in: StandIn, tmp_path: Path
) -> None:
    stand_in.manner = lambda body, number: "bad request"
    one = annotators(stand_in, tmp_path)
    annotated = one.run(ASKED)
    assert annotated.comparisons == []
    assert annotated.left_out[UNWRITTEN] == 3
    one.write(annotated)
    assert not inspect_file(tmp_path / COMPARISONS).sound


def test_a_policy_without_a_bill_and_empty_texts(tmp_path: Path) -> None:
    one = Annotators(Mute(), Mute(), tmp_path)
    asked = [Asked(f"prompt {i}") for i in range(20)]
    assert one.announce(asked).cost == 0
    annotated = one.run(asked)
    assert annotated.left_out[UNWRITTEN] > 0
    assert annotated.comparisons


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ([], "no prompt"),
        ([Asked("why?"), Asked("why?")], "row 2, field 'prompt': stands in row 1 already"),
        ([Asked(" ")], "the text is empty"),
    ],
)
def test_prompts_that_cannot_be(tmp_path: Path, asked: list[Asked], words: str) -> None:
    with pytest.raises(DataError, match=words):
        Annotators(Mute(), Mute(), tmp_path).run(asked)


def test_prompts_from_files(tmp_path: Path) -> None:
    lines, rows = tmp_path / "prompts.txt", tmp_path / "prompts.jsonl"
    lines.write_text("why?\n\nhow?\n")
    assert read_asked(lines) == [Asked("why?"), Asked("how?")]
    rows.write_text('{"prompt": "why?", "response": "so"}\n{"prompt": "how?"}\n')
    assert read_asked(rows) == [Asked("why?", "so"), Asked("how?")]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.json", '["why?", [{"role": "user", "content": "how?"}]]', "is a conversation"),
        ("a.jsonl", '{"question": "why?"}\n', "'prompt': column is missing"),
        ("a.jsonl", '{"prompt": " "}\n', "row 1, field 'prompt': the text is empty"),
        ("a.jsonl", '{"prompt": "why?", "response": 3}\n', "field 'response': expected a text"),
        ("a.txt", "", "holds no candidate"),
        ("a.pdf", "why?", "unknown kind of file"),
    ],
)
def test_files_that_hold_no_prompts(tmp_path: Path, name: str, content: str, words: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=words):
        read_asked(tmp_path / name)


@pytest.mark.parametrize(
    ("settings", "people", "words"),
    [
        ({"protocol": "prism"}, None, "needs people"),
        ({}, PEOPLE, "has its own"),
        ({"protocol": "opinions"}, None, "expected attributes or prism"),
        ({"judges": 0}, None, "judges is 0"),
        ({"concurrency": 0}, None, "concurrency 0"),
    ],
)
def test_settings_that_cannot_be(
    tmp_path: Path, settings: Any, people: list[Person] | None, words: str
) -> None:
    with pytest.raises(SettingsError, match=words):
        Annotators(Mute(), Mute(), tmp_path, AnnotationSettings(**settings), people)


def test_more_judges_than_people(tmp_path: Path) -> None:
    settings = AnnotationSettings("prism", judges=7)
    with pytest.raises(SettingsError, match="expected 1 to 6"):
        Annotators(Mute(), Mute(), tmp_path, settings, PEOPLE).run(ASKED)
