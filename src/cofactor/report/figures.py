"""Figures of matplotlib, made without pyplot and without touching its global state, for studies and benchmarks."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from cofactor.errors import MissingExtraError

__all__ = [
    "BLUE",
    "GRID",
    "INK",
    "ORANGE",
    "PALE",
    "PANEL",
    "new_figure",
    "plain_axes",
    "require_matplotlib",
]

INK, PALE, GRID, BLUE, ORANGE = "#1f2933", "#616e7c", "#e4e7eb", "#2563a8", "#c2571a"
PANEL = 3.65  # inches: 350 pixels, what a phone has beside its margins; 9 points are 12 pixels there


def require_matplotlib() -> None:
    """Raise MissingExtraError unless plots can be made: asked before long work that ends in a plot."""
    if find_spec("matplotlib") is None:
        raise MissingExtraError("plots need matplotlib: pip install 'cofactor[plots]'")


def new_figure(width: float, height: float) -> Any:  # noqa: ANN401
    """An empty figure of so many inches, for panels by ``add_subplot``."""
    require_matplotlib()
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def plain_axes(axes: Any, grid: str) -> None:  # noqa: ANN401
    """Leave only what carries information: the marks, quiet axes and a pale grid."""
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(PALE)
    axes.set_axisbelow(True)
    axes.grid(axis=grid, color=GRID)
    axes.tick_params(colors=PALE, labelsize=9)
    axes.xaxis.label.set_color(INK)
    axes.yaxis.label.set_color(INK)
