"""Hours of requests with an upstream that fails in every way: memory flat, nothing leaks.

Example: python experiments/service_soak.py --run runs/first --minutes 60

Clients ask for chat completions, whole and streamed, score, tell what they prefer, erase users and
go away in the middle, of a service in processes of its own with SQLite. Its upstream, ours, hangs,
answers nonsense, cuts its answers off, drips them, or limits the rate, for a share of the requests.
Every request has to end by its deadline, with an answer, or an error in the one shape. Memory,
open files and threads of the service are looked at every few seconds; the first fifth of the time
is left out, in which caches fill.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import httpx2
import numpy as np
from service_speed import passage, service

sys.path.insert(0, str(Path(__file__).parents[1]))  # the upstream is the tests' own

from tests.unit.alignment.stand_in import StandIn, drawn_manner, standing_in

FAULTS = {"late": 0.02, "malformed": 0.03, "cut off": 0.03, "drip": 0.01, "rate-limited": 0.03}
FAULTS |= {"overloaded": 0.03, "empty": 0.02, "no choices": 0.02, "unauthorised": 0.01}
DEADLINE = 4.0
#: Seconds beyond the deadline that a client on a busy machine may see.
SLACK = 2.0


@dataclass
class Seen:
    """What clients saw, by what was asked; and what was wrong."""

    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    longest: float = 0.0
    faults: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


class Client:
    """Someone who asks for all kinds of things, in turns that a seed decides."""

    def __init__(self, url: str, key: str, seed: int, seen: Seen) -> None:
        self._url = url
        headers = {"Authorization": f"Bearer {key}", "X-Palate-Deadline": str(DEADLINE)}
        self._http = httpx2.Client(base_url=url, headers=headers, timeout=60)
        self._draw = Random(seed)
        self._texts = [passage(self._draw) for _ in range(30)]
        self._seen = seen
        self._last: str | None = None

    def go_on(self, until: float) -> None:
        """Ask until the time is over."""
        acts: list[tuple[int, Callable[[], Any]]] = [
            (8, self._chat),
            (4, self._stream),
            (8, self._score),
            (5, self._compare),
            (4, self._thumb),
            (1, self._erase),
            (1, self._leave),
        ]
        weights, functions = zip(*acts, strict=True)
        with self._http:
            while time.monotonic() < until:
                self._draw.choices(functions, weights)[0]()

    def _user(self) -> str:
        return f"user-{self._draw.randrange(300)}"

    def _ask(self, what: str, method: str, path: str, body: Any = None) -> httpx2.Response | None:  # noqa: ANN401
        started = time.monotonic()
        try:
            response = self._http.request(method, path, json=body)
        except httpx2.HTTPError as error:
            with self._seen.lock:
                self._seen.faults.append(f"{what}: {type(error).__name__}")
            return None
        took = time.monotonic() - started
        with self._seen.lock:
            self._seen.statuses[what, response.status_code] += 1
            self._seen.longest = max(self._seen.longest, took)
            if took > DEADLINE + SLACK:
                self._seen.faults.append(f"{what} took {took:.1f} s")
            if response.status_code >= 400:
                self._look_at_error(what, response)
        return response

    def _look_at_error(self, what: str, response: httpx2.Response) -> None:
        try:
            keys = set(response.json()["error"])
        except (ValueError, KeyError, TypeError):
            keys = set()
        if keys != {"message", "type", "code", "param"} or response.status_code == 500:
            self._seen.faults.append(f"{what}: {response.status_code} {response.text[:200]}")

    def _body(self, **more: Any) -> dict[str, Any]:  # noqa: ANN401
        turn = {"role": "user", "content": self._draw.choice(self._texts)}
        return {"model": "m", "messages": [turn], "user": self._user(), **more}

    def _chat(self) -> None:
        response = self._ask("chat", "POST", "/v1/chat/completions", self._body())
        if response is not None and response.status_code == 200:
            content = response.json()
            self._last = content["id"] if content["personalization"]["feedback"] else None
            with self._seen.lock:
                self._seen.outcomes[content["personalization"]["reason"] or "personalised"] += 1

    def _stream(self) -> None:
        response = self._ask("stream", "POST", "/v1/chat/completions", self._body(stream=True))
        whole = response is None or response.status_code != 200
        if not whole and not response.text.endswith("data: [DONE]\n\n"):  # type: ignore[union-attr]
            with self._seen.lock:
                self._seen.faults.append("a stream without its end")

    def _score(self) -> None:
        texts = self._draw.sample(self._texts, 3)
        body = {"user": self._user(), "prompt": texts[0], "responses": texts[1:]}
        self._ask("score", "POST", "/v1/score", body)

    def _compare(self) -> None:
        texts = self._draw.sample(self._texts, 3)
        body = {"type": "comparison", "user": self._user(), "prompt": texts[0]}
        self._ask("compare", "POST", "/v1/feedback", body | {"chosen": texts[1],
                                                            "rejected": texts[2]})  # fmt: skip

    def _thumb(self) -> None:
        if self._last is not None:
            body = {"type": "thumb", "completion_id": self._last, "value": "up"}
            self._ask("thumb", "POST", "/v1/feedback", body)

    def _erase(self) -> None:
        self._ask("erase", "DELETE", f"/v1/users/{self._user()}")

    def _leave(self) -> None:
        """Half a request, and away."""
        host, port = self._url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as half:
            half.sendall(b"POST /v1/score HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\n{")


def family(process: int) -> list[int]:
    """A process and all its children."""
    try:
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except OSError:
        return []
    return [process, *(one for child in children for one in family(int(child)))]


def sample(process: int) -> tuple[float, int, int]:
    """MiB of memory, open files and threads of a process and its children."""
    memory, files, threads = 0.0, 0, 0
    for one in family(process):
        try:
            lines = Path(f"/proc/{one}/status").read_text().splitlines()
            files += len(list(Path(f"/proc/{one}/fd").iterdir()))
        except OSError:
            continue
        values = dict(line.split(":", 1) for line in lines)
        memory += int(values["VmRSS"].split()[0]) / 1024
        threads += int(values["Threads"])
    return memory, files, threads


def watch(process: int, until: float, every: float) -> list[tuple[float, int, int]]:
    """Samples until the time is over."""
    found = []
    while time.monotonic() < until:
        found.append(sample(process))
        time.sleep(every)
    return found


def report(samples: list[tuple[float, int, int]], seen: Seen, minutes: float) -> None:
    """Print what was seen."""
    kept = np.array(samples[len(samples) // 5 :])
    tenth = max(1, len(kept) // 10)
    first, last = kept[:tenth].mean(0), kept[-tenth:].mean(0)
    total = sum(seen.statuses.values())
    print(f"{total:,} requests in {minutes:g} minutes; the longest took {seen.longest:.2f} s")
    for (what, status), count in sorted(seen.statuses.items()):
        print(f"  {what} {status}: {count:,}")
    print(f"  chat completions by outcome: {dict(seen.outcomes)}")
    for name, a, b in zip(("memory, MiB", "open files", "threads"), first, last, strict=True):
        print(f"{name}: {a:.0f} after a fifth of the time, {b:.0f} at the end")
    slope = np.polyfit(np.linspace(0, 0.8 * minutes, len(kept)), kept[:, 0], 1)[0]
    print(f"memory grows by {slope:+.2f} MiB a minute; {len(seen.faults)} faults")
    for fault in seen.faults[:20]:
        print(f"  {fault}")


def main() -> int:
    """Print what was seen; 1 where something was wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path, required=True, help="what `palate train` wrote")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    draw = Random(0)
    texts = [passage(draw) for _ in range(60)]
    upstream = StandIn(speaker=lambda body, choice: draw.choice(texts), patience=5.0)
    upstream.manner, upstream.log = drawn_manner(FAULTS), Forgetful()
    seen = Seen()
    with standing_in(upstream), tempfile.TemporaryDirectory() as name:
        opened = service(given.run, upstream.url, given.workers, Path(name))
        with opened as (port, process, key):
            until = time.monotonic() + 60 * given.minutes
            url = f"http://127.0.0.1:{port}"
            clients = [Client(url, key, seed, seen) for seed in range(given.clients)]
            threads = [threading.Thread(target=one.go_on, args=(until,)) for one in clients]
            for thread in threads:
                thread.start()
            samples = watch(process, until, max(0.5, given.minutes / 4))
            for thread in threads:
                thread.join()
            log = (Path(name) / "log").read_text(encoding="utf-8").splitlines()
        told = [json.loads(line) for line in log if line.startswith("{")]
        seen.faults += [f"log: {line}" for line in told if line["level"] == "error"]
        seen.faults += [f"log: {line}" for line in log if line.startswith("Traceback")]
    report(samples, seen, given.minutes)
    return 1 if seen.faults else 0


class Forgetful(list[Any]):
    """A log that keeps nothing: hours of requests would fill the memory of whoever measures."""

    def append(self, item: object) -> None:
        """Let it go."""


if __name__ == "__main__":
    sys.exit(main())
