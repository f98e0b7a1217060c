"""Ten thousand requests of Schemathesis: no 5xx, no trace, one shape of error.

Example: python experiments/service_fuzz.py --run runs/first --cases 10000

The service runs in a process of its own, with SQLite and the upstream `echo`. Requests are made
from its OpenAPI document, half in its terms and half against them, over all routes alike.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from service_speed import service

sys.path.insert(0, str(Path(__file__).parents[1]))  # what looks at the answers is the tests' own

from tests.service.http.fuzzing import fuzz


def main() -> int:
    """Print what was answered; 1 where something was wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path, required=True, help="what `palate train` wrote")
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as name:
        with service(given.run, "echo", 1, Path(name)) as (port, _, key):
            started = time.monotonic()
            url = f"http://127.0.0.1:{port}"
            statuses, faults = fuzz(url, key, given.cases, given.seed)
        log = (Path(name) / "log").read_text(encoding="utf-8")
    took = time.monotonic() - started
    faults += ["a trace in the log"] * log.count("Traceback")
    print(f"{sum(statuses.values()):,} requests in {took:.0f} s; by status:")
    for status, count in sorted(statuses.items()):
        print(f"  {status}: {count:,}")
    print(f"{len(faults)} faults")
    for fault in faults[:20]:
        print(f"  {fault}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
