"""How figures look: quiet axes, one colour a method, ink that follows the page's theme."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from palate.errors import ExperimentError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Colours that stand out from white and from near black, and from each other for most eyes.
COLOURS = (
    "#2f7ed8", "#e0812b", "#2fa37c", "#c95d9b", "#8f75dd", "#b8a02c", "#d9534f", "#5aa9c9",
    "#8a8f98", "#9c6b4a",
)  # fmt: skip
MARKERS = "osD^vPX*<>"
#: Stands for the page's ink in a figure's SVG and is nobody's colour.
INK, FAINT = "#010203", "#909499"
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.titlesize": 10,
    "axes.titlecolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.alpha": 0.3,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
}


def new_figure(width: float, height: float, panels: int = 1) -> tuple[Figure, Any]:
    """A figure and its axes, (panels,), two in a row, with one scale."""
    from matplotlib.figure import Figure as New

    figure = New(figsize=(width, height), layout="constrained")
    rows, columns = -(-panels // 2), min(panels, 2)
    axes = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    for empty in axes[panels:]:
        empty.remove()
    return figure, axes[:panels]


@contextmanager
def styled() -> Iterator[None]:
    """Whatever is drawn inside looks as `STYLE` says."""
    from matplotlib import rc_context

    with rc_context(STYLE):
        yield


def require_matplotlib() -> None:
    """Raise `ExperimentError` saying what to install where figures cannot be drawn."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ExperimentError("figures need matplotlib: pip install 'palate[bench]'") from error


def label_line_ends(
    axes: Axes, names: Sequence[str], heights: Sequence[float], colours: Sequence[str]
) -> None:
    """Names at the right of their lines, pushed apart where they would overlap."""
    low, high = axes.get_ylim()
    gap = (high - low) / 18
    places: dict[int, float] = {}
    last = low - gap
    for i in sorted(range(len(names)), key=lambda i: heights[i]):
        last = places[i] = max(heights[i], last + gap)
    right = axes.get_xlim()[1]
    for i, name in enumerate(names):
        axes.text(right, places[i], f" {name}", color=colours[i], va="center")


def to_svg(figure: Figure, name: str) -> str:
    """The figure as SVG for a page of any theme; the same bytes every time."""
    from matplotlib import rc_context

    stream = io.StringIO()
    with rc_context({**STYLE, "svg.hashsalt": name}):
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    text = stream.getvalue()
    text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", text)
    return text[text.index("<svg") :].replace(INK, "currentColor")


def to_png(figure: Figure) -> bytes:
    """The figure as PNG on white."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=160, facecolor="white", metadata={"Software": None})
    return stream.getvalue()
