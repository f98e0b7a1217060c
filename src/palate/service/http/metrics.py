"""What is counted, for Prometheus; with several workers, in files that they share."""

from __future__ import annotations

import os

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

#: By prometheus_client's own word: where workers share their counts.
SHARED_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)


class Metrics:
    """Counts and times of one worker."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self._registry = registry
        route = ("method", "route")
        self.requests = Counter(
            *("palate_requests", "Requests by route and status."),
            (*route, "status"),
            registry=registry,
        )
        self.seconds = Histogram(
            *("palate_request_seconds", "Seconds of a request."),
            route,
            buckets=SECONDS,
            registry=registry,
        )
        self.under_way = Gauge(
            *("palate_requests_under_way", "Requests under way."),
            multiprocess_mode="livesum",
            registry=registry,
        )
        self.parts = Histogram(
            *("palate_chat_seconds", "Seconds of a chat completion by what took them."),
            ("part",),
            buckets=SECONDS,
            registry=registry,
        )
        self.completions = Counter(
            *("palate_completions", "Chat completions: personalised, or why not."),
            ("outcome",),
            registry=registry,
        )
        self.answers = Counter(
            *("palate_answers", "Answers taken in, by how they were given."),
            ("origin",),
            registry=registry,
        )

    def text(self) -> bytes:
        """All of it, of all workers, in Prometheus's format."""
        if SHARED_VARIABLE not in os.environ:
            return generate_latest(self._registry)
        shared = CollectorRegistry()
        MultiProcessCollector(shared)  # type: ignore[no-untyped-call]
        return generate_latest(shared)
