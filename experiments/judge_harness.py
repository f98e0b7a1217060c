"""A judge behind an endpoint that fails all the time: every judgement accounted for.

Example: python experiments/judge_harness.py --pairs 1000

Pairs are judged in both orders by a stand-in that speaks OpenAI's protocol over HTTP, has a known
opinion and a known taste for the response shown first, and fails in one answer of five: bodies that
are no JSON, verdicts that cannot be read, answers that are slow or too late, 429 with Retry-After,
connections that are cut. Two questions in a hundred never get a good answer. The run is stopped
half way and started again. The stand-in's own log is then held against what the harness says. Exit
code 1 where the two differ.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # the stand-in is the tests' own

from tests.unit.alignment.stand_in import (
    WHOLE,
    Logged,
    StandIn,
    drawn_manner,
    question_of,
    standing_in,
)

from palate.alignment.endpoint import Endpoint
from palate.alignment.endpoint_settings import EndpointSettings
from palate.alignment.judge import Judged, Panel
from palate.alignment.judge_account import Verdict
from palate.alignment.judge_questions import JudgeSettings
from palate.alignment.request_cache import RequestCache
from palate.alignment.spending import Prices, Spending, Tokens
from palate.data.benchmarks.role_play import Person, RolePlay
from palate.progress import Advance

#: What fails of the answers to most questions: a fifth in all.
FAULTS = {
    "malformed": 0.03,
    "unreadable": 0.03,
    "slow": 0.03,
    "late": 0.03,
    "rate-limited": 0.04,
    "cut off": 0.04,
}
#: Questions whose every answer fails.
HOPELESS = {"unreadable": 0.01, "cut off": 0.01}
#: How often the stand-in says 1 whatever is shown.
FIRST = 0.2
PRICES = Prices(prompt=2.5, completion=10.0)


def share(words: str) -> float:
    """A number in [0, 1) that the words decide."""
    return int.from_bytes(hashlib.sha256(words.encode()).digest()[:8]) / 2**64


def manner(body: dict[str, Any], number: int) -> str:
    """How the stand-in answers."""
    hopeless = drawn_manner(HOPELESS, seed=1)({"messages": body["messages"], "seed": 0}, 0)
    return drawn_manner(FAULTS)(body, number) if hopeless == "good" else hopeless


def verdict(body: dict[str, Any], choice: int) -> str:
    """The stand-in's opinion: a response's own worth, or the first place."""
    del choice
    shown = re.findall(r"<response_\d_\w+>\n(.*?)\n</response_\d_", body["messages"][-1]["content"])
    if share(f"place {shown}") < FIRST:
        return "Verdict: 1"
    return f"Verdict: {1 if share(shown[0]) > share(shown[1]) else 2}"


def pairs(count: int) -> list[RolePlay]:
    """Pairs before people, each different."""
    return [
        RolePlay(
            Person(f"person-{i % 50:03d}", f"Likes answers of the kind number {i % 50}."),
            f"Question {i}?",
            f"Answer {i} in one way.",
            f"Answer {i} in another.",
        )
        for i in range(count)
    ]


class StopHalfWay:
    """Shows no progress, and presses Ctrl-C after so many questions."""

    def __init__(self, after: int) -> None:
        self.left = after

    @contextmanager
    def track(self, step: str, total: int) -> Iterator[Advance]:
        """Count what is done."""
        del step, total
        yield self._advance

    def _advance(self, done: int) -> None:
        self.left -= done
        if self.left <= 0:
            raise KeyboardInterrupt


def panel(stand_in: StandIn, journal: Path, spending: Spending, threads: int) -> Panel:
    """A judge behind the endpoint, as a new process would make it."""
    settings = EndpointSettings(
        stand_in.url, "stand-in", concurrency=threads, deadline=30.0, patience=stand_in.patience
    )
    asked = JudgeSettings(concurrency=threads)
    return Panel([Endpoint(settings, spending=spending)], asked, RequestCache(journal))


def asked_of(one: Panel, plays: list[RolePlay], judged: Judged) -> dict[str, Verdict]:
    """What the harness says of every question, by the question's hash."""
    return {
        question_of({"messages": [{"role": "user", "content": text}]}): said
        for play, judgement in zip(plays, judged.judgements, strict=True)
        for pair in judgement.votes
        for a_first, said in zip((True, False), pair, strict=True)
        for text in [one.questions.instructions.question(play, a_first=a_first)]
    }


def bill(log: list[Logged]) -> Tokens:
    """What the stand-in bills."""
    billed = [Tokens(one.prompt_tokens, one.completion_tokens) for one in log if one.bills]
    return sum(billed, Tokens())


def agrees(log: list[Logged], said: dict[str, Verdict]) -> dict[str, bool]:
    """The stand-in's log against what the harness says, question by question."""
    good: dict[str, list[str]] = {question: [] for question in said}
    for one in log:
        if one.manner in WHOLE:
            good[one.question].append(one.texts[0])
    answered = {question for question, one in said.items() if one.outcome == "answered"}
    worth = {"Verdict: 1": 1.0, "Verdict: 2": 0.0}
    return {
        "every question was asked": {one.question for one in log} == set(said),
        "one good answer a question, none lost or twice": all(
            len(texts) == (question in answered) for question, texts in good.items()
        ),
        "verdicts are the stand-in's": all(worth[good[q][0]] == said[q].first for q in answered),
    }


def main() -> None:
    """Run the harness and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=1000, help="judged in both orders")
    parser.add_argument("--threads", type=int, default=16)
    chosen = parser.parse_args()
    plays = pairs(chosen.pairs)
    stand_in = StandIn(speaker=verdict, manner=manner, patience=2.0, slowness=0.2, retry_after="1")
    started = time.monotonic()
    with standing_in(stand_in), tempfile.TemporaryDirectory() as folder:
        journal = Path(folder) / "journal.sqlite"
        runs = [Spending(PRICES), Spending(PRICES)]
        first = panel(stand_in, journal, runs[0], chosen.threads)
        announced = first.announce(plays)
        try:
            first.judge(plays, StopHalfWay(after=chosen.pairs))
        except KeyboardInterrupt:
            before = len(stand_in.log)
        second = panel(stand_in, journal, runs[1], chosen.threads)
        judged = second.judge(plays)
        seconds = time.monotonic() - started
        kept = sum(one.known for pair in judged.judgements for vote in pair.votes for one in vote)
        cost, at_most = sum(run.cost for run in runs), sum(run.cost_at_most for run in runs)
        billed = PRICES.of(bill(stand_in.log))
        said = asked_of(second, plays, judged)
    account = judged.account
    (bias,) = judged.bias
    checks = agrees(stand_in.log, said) | {
        "asked = answered + malformed + failed": account.asked == 2 * len(plays)
        and account.asked == account.answered + account.malformed + account.failed,
        "told <= the stand-in's bill <= at most <= announced": (
            cost <= billed * (1 + 1e-9) and billed <= at_most <= announced.cost
        ),
        "the place's pull is in its interval": (
            bias.first.interval[0] <= (1 + FIRST) / 2 <= bias.first.interval[1]
        ),
    }
    faults = Counter(one.manner for one in stand_in.log)
    whole = faults.pop("good")
    print(f"pairs judged in both orders      {len(plays):>8,}")
    print(f"requests the stand-in got        {len(stand_in.log):>8,}   in {seconds:.0f} s")
    failed = sum(faults.values())
    print(f"  of them bad                    {failed:>8,}   {failed / len(stand_in.log):.1%}")
    for name, count in sorted(faults.items()):
        print(f"    {name:<29}{count:>8,}")
    print(f"  answered well                  {whole:>8,}")
    print(f"stopped after requests           {before:>8,}   verdicts kept: {kept:,}")
    for name, count in vars(account).items():
        print(f"questions, {name:<22}{count:>8,}")
    decided = sum(judgement.preference is not None for judgement in judged.judgements)
    print(f"pairs with a judgement           {decided:>8,}")
    low, high = bias.first.interval
    print(f"verdicts for the first place     {bias.first.mean:>8.3f}   [{low:.3f}, {high:.3f}]")
    print(f"  planted                        {(1 + FIRST) / 2:>8.3f}")
    print(f"cost: told by the endpoint       {cost:>8.4f}")
    print(f"      the stand-in's own bill    {billed:>8.4f}")
    print(f"      at most (untold as bound)  {at_most:>8.4f}")
    print(f"      announced before           {announced.cost:>8.4f}")
    for name, holds in checks.items():
        print(f"{'yes' if holds else 'NO':<4}{name}")
    sys.exit(0 if all(checks.values()) else 1)


if __name__ == "__main__":
    main()
