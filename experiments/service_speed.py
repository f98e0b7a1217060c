"""What a taste costs in front of a language model, and how many scores a second there are.

Example: python experiments/service_speed.py --run runs/first --workers 2

Two things are measured over loopback on a service of its own, with SQLite and the MiniLM encoder.

Chat completions: clients that wait for an upstream of our own, in a process of its own, which takes
--upstream-ms for four candidates. The service's own time is a request's, as the client measures it,
less the time that the gateway waited for the upstream and for the encoder (header Server-Timing).
All texts are in the cache before.

Scores: clients, processes with one connection each, that send /v1/score with two texts that are in
the cache, one after the other, for users with ten answers each.

Others' share is what processes that are none of ours took of the processors meanwhile; the seconds
of processor that a request takes in the service do not depend on it.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

Running = subprocess.Popen[str]
TICK = os.sysconf("SC_CLK_TCK")
WORDS = Path(__file__).read_text(encoding="utf-8").split()

UPSTREAM = """
import asyncio, json, random, sys, uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
texts = json.loads(sys.argv[3])
async def chat(request):
    body = await request.json()
    await asyncio.sleep(float(sys.argv[2]) / 1000)
    said = random.sample(texts, body["n"])
    choices = [{"index": i, "message": {"role": "assistant", "content": text},
                "finish_reason": "stop"} for i, text in enumerate(said)]
    return JSONResponse({"model": "m", "choices": choices})
app = Starlette(routes=[Route("/v1/chat/completions", chat, methods=["POST"])])
uvicorn.run(app, port=int(sys.argv[1]), log_level="critical")
"""


def passage(draw: Random) -> str:
    """A text of forty words."""
    return " ".join(draw.choices(WORDS, k=40))


# -- processors ------------------------------------------------------------------------------------


def busy() -> float:
    """Seconds of processor that were taken since the machine started, by anybody."""
    columns = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    user, nice, system, _, _, irq, softirq, steal = map(int, columns[:8])
    return (user + nice + system + irq + softirq + steal) / TICK


def seconds_of(process: int) -> float:
    """Seconds of processor that a process and its living children took."""
    try:
        columns = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except OSError:
        return 0.0
    return (int(columns[11]) + int(columns[12])) / TICK + sum(seconds_of(int(c)) for c in children)


class Watch:
    """Time and processors from now on."""

    def __init__(self, server: int) -> None:
        self._server = server
        self._at = self._now()

    def _now(self) -> tuple[float, ...]:
        ended = os.times()  # of children that were waited for
        own = seconds_of(os.getpid()) + ended.children_user + ended.children_system
        return time.monotonic(), busy(), seconds_of(self._server), own

    def read(self) -> tuple[float, float, float]:
        """Seconds; of processor in the server; others' share of all processors."""
        now = self._now()
        wall, all_, server, own = (b - a for a, b in zip(self._at, now, strict=True))
        cores = os.cpu_count() or 1
        return wall, server, max(0.0, all_ - own) / (wall * cores)


# -- the service -----------------------------------------------------------------------------------


def free_port() -> int:
    """A port that nobody listens on."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@contextmanager
def process(words: list[str], out: int | None = None, err: Any = None) -> Iterator[Running]:  # noqa: ANN401
    """A program until the end."""
    with subprocess.Popen(words, text=True, stdout=out, stderr=err) as running:
        try:
            yield running
        finally:
            running.terminate()
            running.wait(30)


@contextmanager
def service(run: Path, upstream: str, workers: int, folder: Path) -> Iterator[tuple[int, int, str]]:
    """A service of its own: port, process and key."""
    port = free_port()
    words = [sys.executable, "-m", "palate.cli", "serve", str(run), "--port", str(port)]
    words += ["--upstream", upstream, "--workers", str(workers)]
    words += ["--database", f"sqlite:///{folder / 'palate.db'}", "--cache", str(folder / "cache")]
    with (
        (folder / "log").open("w") as log,
        process(words, subprocess.PIPE, log) as running,
    ):
        assert running.stdout is not None
        key = running.stdout.readline().strip()
        wait_for(port)
        yield port, running.pid, key


def wait_for(port: int, path: str = "/readyz", seconds: float = 120) -> None:
    """Until the service is ready."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", path)
            if connection.getresponse().status in (200, 404):
                return
        except OSError:
            pass
        time.sleep(0.2)
    raise SystemExit(f"nothing is ready at port {port}")


class Client:
    """One connection that is kept open."""

    def __init__(self, port: int, key: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    def post(self, path: str, body: bytes) -> tuple[float, bytes, str]:
        """Seconds, the answer, and its Server-Timing."""
        started = time.perf_counter()
        self._connection.request("POST", path, body, self._headers)
        response = self._connection.getresponse()
        content = response.read()
        seconds = time.perf_counter() - started
        if response.status >= 300:
            raise SystemExit(f"{path}: {response.status} {content[:300]!r}")
        return seconds, content, response.getheader("Server-Timing") or ""


def quantiles(values: list[float]) -> str:
    """Median and 99th percentile in milliseconds."""
    p50, p99 = 1e3 * np.quantile(values, [0.5, 0.99])
    return f"p50 {p50:.2f} ms, p99 {p99:.2f} ms"


# -- chat ------------------------------------------------------------------------------------------


def chat(port: int, pid: int, key: str, clients: int, seconds: float, prompts: list[str]) -> None:
    """The gateway's own time of chat completions."""
    until = time.monotonic() + seconds
    own: list[float] = []
    parts: dict[str, list[float]] = {}
    lock = threading.Lock()

    def one(number: int) -> None:
        client, draw = Client(port, key), Random(number)
        while time.monotonic() < until:
            turn = {"role": "user", "content": draw.choice(prompts)}
            body = {"model": "m", "messages": [turn], "user": f"user-{draw.randrange(100)}"}
            took, content, timing = client.post("/v1/chat/completions", json.dumps(body).encode())
            assert json.loads(content)["personalization"]["personalized"], content
            told = {n: float(v) / 1e3 for n, v in re.findall(r"(\w+);dur=([\d.]+)", timing)}
            with lock:
                own.append(took - told["upstream"] - told["encoding"])
                for name, value in told.items():
                    parts.setdefault(name, []).append(value)

    watch = Watch(pid)
    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(one, range(clients)))
    wall, spent, others = watch.read()
    print(f"chat: {len(own)} completions by {clients} clients, {len(own) / wall:.0f} a second")
    print(f"  the gateway's own time, as clients see it: {quantiles(own)}")
    print(f"  as the gateway measures it itself: {quantiles(parts['own'])}")
    print(f"  upstream {quantiles(parts['upstream'])}; encoding {quantiles(parts['encoding'])}")
    print(
        f"  {1e3 * spent / len(own):.2f} ms of processor each in the service; "
        f"others took {others:.0%} of all processors"
    )


# -- scores ----------------------------------------------------------------------------------------

SCORING = """
import http.client, json, random, sys, time
port, key, seconds, seed = int(sys.argv[1]), sys.argv[2], float(sys.argv[3]), int(sys.argv[4])
bodies = [body.encode() for body in json.load(sys.stdin)]
draw = random.Random(seed)
headers = {"Authorization": "Bearer " + key, "Content-Type": "application/json"}
connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
times, until = [], time.monotonic() + seconds
while time.monotonic() < until:
    started = time.perf_counter()
    connection.request("POST", "/v1/score", draw.choice(bodies), headers)
    response = connection.getresponse()
    response.read()
    assert response.status == 200, response.status
    times.append(time.perf_counter() - started)
print(json.dumps(times))
"""


def scores(port: int, pid: int, key: str, clients: int, seconds: float, prompts: list[str]) -> None:
    """How many scores a second there are."""
    draw = Random(1)
    bodies = [
        json.dumps(
            {"user": f"user-{i % 100}", "prompt": prompts[i % len(prompts)],
             "responses": [passage(draw), passage(draw)]}
        )
        for i in range(200)
    ]  # fmt: skip
    warm = Client(port, key)
    for _ in range(4):  # so that every worker has read them
        for body in bodies:
            warm.post("/v1/score", body.encode())
    words = [sys.executable, "-c", SCORING, str(port), key, str(seconds)]
    watch = Watch(pid)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    running = [subprocess.Popen([*words, str(seed)], **pipes) for seed in range(clients)]  # type: ignore[call-overload]
    for one in running:
        one.stdin.write(json.dumps(bodies))
        one.stdin.close()
    times: list[float] = []
    for one in running:
        times += json.loads(one.stdout.read())
    for one in running:
        one.wait()
    _, spent, others = watch.read()
    rate = len(times) / seconds
    print(f"scores: {rate:.0f} a second by {clients} clients, {quantiles(times)}")
    print(
        f"  {1e3 * spent / len(times):.2f} ms of processor each in the service; "
        f"others took {others:.0%} of all processors"
    )


def warm(port: int, key: str, prompts: list[str], texts: list[str]) -> None:
    """Let the service read all texts that the upstream says."""
    for prompt in prompts:
        body = {"user": "nobody", "prompt": prompt, "responses": texts}
        Client(port, key).post("/v1/score", json.dumps(body).encode())


def teach(port: int, key: str, users: int, answers: int) -> None:
    """Users with some answers each."""
    client, draw = Client(port, key), Random(0)
    pairs = [(passage(draw), passage(draw)) for _ in range(40)]
    for user in range(users):
        for chosen, rejected in draw.sample(pairs, answers):
            body = {"type": "comparison", "user": f"user-{user}", "prompt": "What is tea?"}
            body |= {"chosen": chosen, "rejected": rejected}
            client.post("/v1/feedback", json.dumps(body).encode())


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path, required=True, help="what `palate train` wrote")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--upstream-ms", type=float, default=300.0)
    parser.add_argument("--texts", type=int, default=40, help="that the upstream says")
    given = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    draw = Random(7)
    prompts = [passage(draw) for _ in range(5)]
    texts = json.dumps([passage(draw) for _ in range(given.texts)])
    port = free_port()
    words = [sys.executable, "-c", UPSTREAM, str(port), str(given.upstream_ms), texts]
    with tempfile.TemporaryDirectory() as name, process(words):
        wait_for(port, "/")
        upstream = f"http://127.0.0.1:{port}/v1"
        with service(given.run, upstream, given.workers, Path(name)) as (own, pid, key):
            teach(own, key, 100, 10)
            warm(own, key, prompts, json.loads(texts))
            chat(own, pid, key, given.clients, given.seconds, prompts)
            scores(own, pid, key, given.clients, given.seconds, prompts)


if __name__ == "__main__":
    main()
