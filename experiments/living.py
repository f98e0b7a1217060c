"""What a posterior costs: one added answer, and a million users at once.

Example: python experiments/living.py --users 1000000 --threads 2

Users and their answers are generated in the space of the evidence: differences of K basis rewards
for PReF, natural parameters for VRF, both for BRF, as a cache of basis rewards would give them.

One answer: from its row of evidence to the posterior with it, whole (a `UserPosterior`: tensors of
mean, variance and, but for VRF, covariance), the median of so many users. Where other processes
run, that is more; it is measured several times over, and the least median is what palate costs.

The batch is done by threads with one torch thread each; memory is what the process takes at most,
beyond what it took before.
"""

from __future__ import annotations

import argparse
import resource
import time
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import nn

from palate.adaptation.living import LivingPosterior
from palate.methods import METHODS, Method
from palate.methods.brf import BRF
from palate.methods.vrf import VRF
from palate.settings import build
from palate.types import Evidence

BASES = 8


def answers(method: Method, users: int, each: int, seed: int) -> Evidence:
    """Answers (users * each, E) of users with tastes from N(0, I)."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(users * each, BASES, generator=generator)
    taste = torch.randn(users, BASES, generator=generator).repeat_interleave(each, 0)
    agrees = torch.rand(len(rows), generator=generator) < torch.sigmoid((rows * taste).sum(-1))
    delta = torch.where(agrees[:, None], rows, -rows)
    if not isinstance(method, VRF):
        return Evidence(delta, torch.arange(0, users * each + 1, each))
    rows = torch.cat([torch.ones_like(delta), delta], dim=-1)  # precisions, and what they weigh
    if isinstance(method, BRF):
        rows = torch.cat([rows, delta], dim=-1)
    return Evidence(rows, torch.arange(0, users * each + 1, each))


def untrained(name: str) -> Method:
    """A method with K bases; those of VRF and BRF are drawn, as before training."""
    kind = METHODS[name]
    method = kind(build(kind.settings_class, {"bases": BASES}), BASES).requires_grad_(False)
    if isinstance(method, VRF):
        nn.init.normal_(method.base_mean, generator=torch.Generator().manual_seed(0))
        nn.init.zeros_(method.base_log_sd)
    return method


def microseconds_of_one(method: Method, earlier: int, users: int) -> list[float]:
    """Times from an answer's row to the posterior with it, user after user."""
    found, waiting = [], []
    for user in range(users):
        rows = answers(method, 1, earlier + 1, seed=user).rows
        living = LivingPosterior(method, Evidence(rows[:-1], torch.tensor([0, earlier])))
        waiting.append((living, living.posterior, rows[-1]))
    for living, before, row in waiting:
        started = time.perf_counter()
        living.add(row)
        after = living.posterior
        found.append(1e6 * (time.perf_counter() - started))
        assert not torch.equal(before.mean, after.mean)
    return found


def seconds_of_batch(
    method: Method, users: int, each: int, chunk: int, threads: int
) -> tuple[float, float]:
    """Everybody's posterior with its covariance: wall-clock time, and that of processors."""
    starts = range(0, users, chunk)

    def work(part: int) -> tuple[float, float]:
        wall, busy = 0.0, 0.0
        for start in starts[part::threads]:
            evidence = answers(method, min(chunk, users - start), each, seed=start)
            started, used = time.perf_counter(), time.thread_time()
            method.posterior(evidence)
            wall += time.perf_counter() - started
            busy += time.thread_time() - used
        return wall, busy

    with ThreadPoolExecutor(threads) as pool:
        wall, busy = zip(*pool.map(work, range(threads)), strict=True)
    return max(wall), sum(busy)


def megabytes() -> float:
    """The most that this process has taken."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Print a line for each method: one answer, then the batch."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--each", type=int, default=10)
    parser.add_argument("--earlier", type=int, default=20)
    parser.add_argument("--chunk", type=int, default=20_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--trials", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in ("vrf", "pref", "brf"):
        method = untrained(name)
        times = [
            sorted(microseconds_of_one(method, options.earlier, options.trials))
            for _ in range(options.repeats)
        ]
        middle, late = (min(each[int(part * len(each))] for each in times) for part in (0.5, 0.9))
        print(f"{name}: one answer after {options.earlier}: {middle:.0f} us, 9 in 10 {late:.0f}")
        answers(method, options.chunk, options.each, seed=0)
        before = megabytes()
        seconds, busy = seconds_of_batch(
            method, options.users, options.each, options.chunk, options.threads
        )
        print(
            f"{name}: {options.users:,} users of {options.each} answers: {seconds:.1f} s on "
            f"{options.threads} threads, {busy:.1f} s of processors, {megabytes() - before:.0f} MB "
            "beyond a chunk's answers",
            flush=True,
        )


if __name__ == "__main__":
    main()
