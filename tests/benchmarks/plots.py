"""The figures as SVG, to be shown in the README."""

# pyright: reportMissingImports=false
# (matplotlib comes with the extra `benchmark`, which the checks do without)

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

from .results import Figure

__all__ = ["draw"]

_OURS, _OBSTORE, _BOTO = "#0b6e4f", "#e08e1b", "#8a8f98"
_STYLE: Any = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 9,
    "grid.color": "#e5e5e5",
    "svg.fonttype": "none",  # text stays text: smaller, and it can be searched
    "svg.hashsalt": "s3dict",  # the same figures give the same file
}
_MARKERS = "osD^vPX"


def draw(figures: Sequence[Figure], directory: Path) -> None:
    """Write a file for each plot that there are figures for."""
    drawings: dict[str, tuple[str, Callable[[Sequence[Figure]], Any]]] = {
        "cold-start": ("cold-start", _draw_cold_start),
        "cpu": ("cpu", _draw_cpu),
        "bulk": ("bulk", _draw_bulk),
        "growth": ("growth", _draw_growth),
        "sizes": ("sizes", _draw_sizes),
    }
    with plt.rc_context(_STYLE):
        for row, (name, drawing) in drawings.items():
            chosen = [figure for figure in figures if figure.row == row and figure.server == "stub"]
            if chosen:
                plot = drawing(chosen)
                plot.savefig(directory / f"{name}.svg", bbox_inches="tight", metadata={"Date": None})
                plt.close(plot)


def _draw_cold_start(figures: Sequence[Figure]) -> Any:
    return _bars(figures, "until the first value is there, in ms", lambda figure: figure.medians.seconds * 1e3)


def _draw_cpu(figures: Sequence[Figure]) -> Any:
    return _bars(figures, "CPU, in ms", lambda figure: figure.medians.cpu_seconds * 1e3)


def _draw_bulk(figures: Sequence[Figure]) -> Any:
    return _bars(figures, "entries in a second", lambda figure: 1 / figure.medians.seconds)


def _bars(figures: Sequence[Figure], label: str, value: Callable[[Figure], float]) -> Any:
    """One panel for each thing that was done, with a bar for each peer."""
    whats = list(dict.fromkeys(figure.what for figure in figures))
    plot, panels = plt.subplots(1, len(whats), figsize=(4.4 * len(whats), 3.4), squeeze=False)
    for panel, what in zip(panels[0], whats, strict=True):
        shown = sorted((figure for figure in figures if figure.what == what), key=value)
        colours = [_colour(figure.peer) for figure in shown]
        bars = panel.barh([figure.peer for figure in shown], [value(figure) for figure in shown], color=colours)
        panel.bar_label(bars, fmt="%.3g" if value(shown[-1]) < 1000 else "%.0f", padding=3)
        panel.margins(x=0.15)
        panel.grid(axis="y", visible=False)
        panel.set(title=what, xlabel=label)
    plot.tight_layout()
    return plot


def _draw_growth(figures: Sequence[Figure]) -> Any:
    return _curves(figures, "entries")


def _draw_sizes(figures: Sequence[Figure]) -> Any:
    return _curves(figures, "bytes of the value")


def _curves(figures: Sequence[Figure], label: str) -> Any:
    """One panel for each thing that was done, with a curve for each peer; both axes are logarithmic."""
    whats = list(dict.fromkeys(figure.what for figure in figures))
    peers = list(dict.fromkeys(figure.peer for figure in figures))
    plot, panels = plt.subplots(1, len(whats), figsize=(3.6 * len(whats), 3.4), squeeze=False, sharey=True)
    for panel, what in zip(panels[0], whats, strict=True):
        for peer, marker in zip(peers, _MARKERS, strict=False):
            points = [figure for figure in figures if (figure.what, figure.peer) == (what, peer)]
            look = {"color": _colour(peer), "linestyle": _line(peer), "marker": marker, "markersize": 4}
            panel.plot(*_coordinates(points), label=peer, **look)
        panel.set(title=what, xlabel=label, xscale="log", yscale="log")
    panels[0][0].set_ylabel("seconds")
    plot.legend(*panels[0][0].get_legend_handles_labels(), loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    plot.tight_layout()
    return plot


def _coordinates(points: Iterable[Figure]) -> tuple[list[int], list[float]]:
    in_order = sorted(points, key=lambda figure: figure.n)
    return [figure.n for figure in in_order], [figure.medians.seconds for figure in in_order]


def _line(peer: str) -> str:
    """How its driver is drawn: one colour has several peers."""
    return "dotted" if "aioboto3" in peer or "asyncio" in peer else "dashed" if "boto3" in peer else "solid"


def _colour(peer: str) -> str:
    if peer.startswith("s3dict"):
        return _OURS
    return _OBSTORE if "obstore" in peer else _BOTO
