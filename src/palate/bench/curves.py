"""The numbers behind the figures, drawn or not."""

from __future__ import annotations

import numpy as np

from palate.bench.results import Line, Results
from palate.evaluation.metrics import Floats, in_bins

BINS = ("certain", "between", "uncertain")


def by_answers(results: Results, line: Line) -> tuple[list[int], Floats]:
    """Numbers of comparisons, and unseen users' accuracy after each, mean over seeds.

    Those that all seeds have, and last what each seed's split allows at most.
    """
    fewer = [set(list(line.cells[seed]["unseen"])[:-1]) for seed in results.seeds]
    shared = sorted(set.intersection(*fewer), key=int)
    values = [
        np.mean([line.values("unseen", "accuracy", seed, n).mean() for seed in results.seeds])
        for n in (*shared, None)
    ]
    return [*map(int, shared), results.answers], np.array(values)


def by_uncertainty(results: Results, line: Line) -> Floats | None:
    """(3,) accuracy of unseen users in thirds by uncertainty; None for a method without."""
    thirds = []
    for seed in results.seeds:
        uncertainty = line.cells[seed]["uncertainty"]
        if uncertainty is None:
            return None
        part = line.part("unseen", seed)
        place = dict(zip(uncertainty["users"], uncertainty["sd"], strict=True))
        sd = np.array([place[user] for user in part["users"]])
        thirds.append(in_bins(np.array(part["accuracy"]), sd, len(BINS)))
    return np.asarray(np.mean(thirds, axis=0), dtype=np.float64)


def series_of(results: Results) -> dict[str, list[Line]]:
    """Rows that vary one thing, by the row of the experiment that they come from."""
    series: dict[str, list[Line]] = {}
    for line in results.done:
        if line.series is not None and line.at is not None:
            series.setdefault(line.series, []).append(line)
    return series


def spectrum(results: Results) -> Floats:
    """Shares of the variance of users' tastes by direction, mean over seeds."""
    values = [results.done[0].cells[seed]["singular_values"] for seed in results.seeds]
    least = min(map(len, values))
    return np.asarray(np.mean([row[:least] for row in values], axis=0), dtype=np.float64)


def elbow(values: Floats) -> int:
    """How many values stand before the bend: the point farthest below the chord of both ends."""
    if len(values) < 3:
        return len(values)
    x = np.linspace(0, 1, len(values))
    span = values[0] - values[-1]
    y = (values - values[-1]) / (span if span > 0 else 1.0)
    return int(np.argmax(1 - x - y)) + 1


def coverage(results: Results, line: Line) -> tuple[Floats, Floats] | None:
    """(K,) shares of seen and of unseen users by dominant basis, the most frequent one first.

    Every seed's bases are put in order by its seen users. None for a method without bases.
    """
    parts = []
    for seed in results.seeds:
        counts = line.cells[seed]["coverage"]
        if counts["seen"] is None:
            return None
        seen, unseen = (np.array(counts[group], dtype=np.float64) for group in ("seen", "unseen"))
        order = np.argsort(-seen, kind="stable")
        parts.append((seen[order] / seen.sum(), unseen[order] / unseen.sum()))
    least = min(len(seen) for seen, _ in parts)
    return (
        np.asarray(np.mean([seen[:least] for seen, _ in parts], axis=0)),
        np.asarray(np.mean([unseen[:least] for _, unseen in parts], axis=0)),
    )
