"""The figures of an experiment, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from palate.bench import curves
from palate.bench.drawing import COLOURS, FAINT, MARKERS, label_line_ends, new_figure, styled
from palate.bench.results import Line, Results
from palate.bench.summary import COLUMN

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: So many methods at most have a panel of their own.
MOST_PANELS = 4


@dataclass(frozen=True)
class Drawn:
    """A figure with the sentence that stands under it."""

    name: str
    caption: str
    figure: Figure


def figures_of(results: Results) -> list[Drawn]:
    """What the experiment asks for, as far as its results can fill it."""
    if not results.seeds:
        return []
    drawn = []
    for name in results.experiment["figures"]:
        caption, draw = FIGURES[name]
        with styled():
            figure = draw(results)
        if figure is not None:
            drawn.append(Drawn(name, caption, figure))
    return drawn


def _answers(results: Results) -> Figure | None:
    lines = [line for line in results.done if line.series is None]
    if not lines:
        return None
    figure, (axes,) = new_figure(5.6, 3.5)
    ends = []
    for i, line in enumerate(lines):
        answers, values = curves.by_answers(results, line)
        style = {"color": _colour(results, line.label), "marker": MARKERS[i % len(MARKERS)]}
        axes.plot(range(len(answers)), 100 * values, **style)
        ends.append(float(100 * values[-1]))
    axes.set_xticks(range(len(answers)), [str(n) for n in answers])
    axes.set_xlabel("comparisons of the unseen user")
    axes.set_ylabel("accuracy, %")
    axes.set_xlim(-0.2, len(answers) - 0.85)
    colours = [_colour(results, line.label) for line in lines]
    label_line_ends(axes, [line.label for line in lines], ends, colours)
    return figure


def _colour(results: Results, label: str) -> str:
    """A row has one colour in all figures of an experiment."""
    return COLOURS[[line.label for line in results.done].index(label) % len(COLOURS)]


def _uncertainty(results: Results) -> Figure | None:
    thirds = {line.label: curves.by_uncertainty(results, line) for line in results.done}
    known = {label: values for label, values in thirds.items() if values is not None}
    if not known:
        return None
    figure, (axes,) = new_figure(5.4, 3.4)
    width = 0.8 / len(known)
    for i, (label, values) in enumerate(known.items()):
        place = np.arange(len(curves.BINS)) + (i - (len(known) - 1) / 2) * width
        colour = _colour(results, label)
        bars = axes.bar(place, 100 * values, 0.9 * width, label=label, color=colour)
        axes.bar_label(bars, fmt="%.1f", padding=2, fontsize=8)
    axes.set_xticks(range(len(curves.BINS)), [f"most {curves.BINS[0]} third", "middle third",
                                              f"most {curves.BINS[2]} third"])  # fmt: skip
    low = 100 * min(float(values.min()) for values in known.values())
    axes.set_ylim(max(0.0, min(50.0, low - 3)), None)
    axes.set_ylabel("accuracy, %")
    figure.legend(loc="outside upper center", ncols=len(known))
    return figure


def _axis(results: Results) -> Figure | None:
    series = curves.series_of(results)
    if not series:
        return None
    figure, panels = new_figure(5.8, 3.4, panels=2)
    ticks = list(dict.fromkeys(str(line.at) for lines in series.values() for line in lines))
    for axes, group in zip(panels, ("seen", "unseen"), strict=True):
        for i, (label, lines) in enumerate(series.items()):
            values = [100 * _mean(results, line, group) for line in lines]
            style = {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)]}
            axes.plot([ticks.index(str(line.at)) for line in lines], values, label=label, **style)
        axes.set_xticks(range(len(ticks)), ticks)
        axes.set_title(f"{group} users")
        axes.set_xlabel(results.experiment["axis"] or "")
    panels[0].set_ylabel("accuracy, %")
    if len(series) > 1:
        handles, names = panels[-1].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper center", ncols=3)
    return figure


def _mean(results: Results, line: Line, column: str) -> float:
    return float(np.mean([COLUMN[column].value(line, seed) for seed in results.seeds]))


def _adaptation(results: Results) -> Figure:
    lines = results.done
    values = [1e3 * _mean(results, line, "adaptation_ms") for line in lines]
    figure, (axes,) = new_figure(5.4, 0.8 + 0.32 * len(lines))
    bars = axes.barh(range(len(lines)), values, 0.62, color=COLOURS[0])
    axes.bar_label(bars, [f" {value:,.3g} \N{MICRO SIGN}s" for value in values], fontsize=8)
    axes.set_yticks(range(len(lines)), [line.label for line in lines])
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlim(min(values) / 2, max(values) * 6)
    axes.set_xlabel("microseconds a user")
    axes.grid(visible=False, axis="y")
    return figure


def _spectrum(results: Results) -> Figure | None:
    values = curves.spectrum(results)
    if len(values) < 3:
        return None
    bend = curves.elbow(values)
    figure, (axes,) = new_figure(5.4, 3.2)
    axes.plot(range(1, len(values) + 1), 100 * values, color=COLOURS[0], marker="o", markersize=3.5)
    axes.axvline(bend, color=FAINT, linestyle="--", linewidth=1)
    axes.annotate(f"elbow at {bend}", (bend, 100 * values[0]), (5, -4), textcoords="offset points")
    axes.set_xlabel("direction of taste")
    axes.set_ylabel("share of variance, %")
    return figure


def _coverage(results: Results) -> Figure | None:
    shares = {line.label: curves.coverage(results, line) for line in results.done}
    known = {label: pair for label, pair in shares.items() if pair is not None}
    known = dict(list(known.items())[-MOST_PANELS:])
    if not known:
        return None
    figure, panels = new_figure(5.4, 1.0 + 2.2 * -(-len(known) // 2), panels=len(known))
    for axes, (label, (seen, unseen)) in zip(panels, known.items(), strict=True):
        place = np.arange(len(seen))
        axes.bar(place - 0.2, 100 * seen, 0.38, color=COLOURS[0], label="seen")
        axes.bar(place + 0.2, 100 * unseen, 0.38, color=COLOURS[1], label="unseen")
        axes.set_title(label)
        axes.set_xticks(place, [str(i + 1) for i in place])
        axes.set_xlabel("basis, most frequent first")
    panels[0].set_ylabel("users it dominates, %")
    handles, names = panels[-1].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=2)
    return figure


Draw = Callable[[Results], Any]
FIGURES: dict[str, tuple[str, Draw]] = {
    "answers": ("Accuracy of unseen users by the number of their comparisons.", _answers),
    "uncertainty": (
        "Accuracy of unseen users in thirds by their uncertainty: honest uncertainty falls to the "
        "right.",
        _uncertainty,
    ),
    "axis": ("Accuracy by what this experiment varies.", _axis),
    "adaptation": (
        "Time to adapt a user to 10 comparisons, 200 users at once, one thread, features at hand.",
        _adaptation,
    ),
    "spectrum": (
        "Singular-value spectrum of users' mean differences of features, and its elbow.",
        _spectrum,
    ),
    "coverage": (
        "Share of users by the basis that weighs most for them, seen and unseen, bases in the "
        "order of the seen users' shares.",
        _coverage,
    ),
}
