"""Plots as matplotlib figures, made without pyplot and without touching its global state."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from cofactor.errors import MissingExtraError, ParameterError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

    from cofactor.data.interactions import Interactions

__all__ = [
    "BLUE",
    "GRID",
    "INK",
    "ORANGE",
    "PALE",
    "PANEL",
    "concentration_plot",
    "leaderboard_plot",
    "loss_plot",
    "new_figure",
    "plain_axes",
    "popularity_plot",
    "require_matplotlib",
]

INK, PALE, GRID, BLUE, ORANGE = "#1f2933", "#616e7c", "#e4e7eb", "#2563a8", "#c2571a"
PANEL = 3.65  # inches: 350 pixels, what a phone has beside its margins; 9 points are 12 pixels there
_LABEL, _TITLE = 9, 10  # points
_ROOM = 72 * PANEL - 50  # points that a name has beside its number


def leaderboard_plot(board: pl.DataFrame, metric: str) -> Any:  # noqa: ANN401
    """One metric as bars, with the intervals that the leaderboard has; name and value stand above each bar.

    Parameters
    ----------
    board : DataFrame
        From ``compare``; best on top, and the first bar is drawn in full colour.
    metric : str

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ParameterError
        The leaderboard lacks the metric.
    MissingExtraError
        matplotlib is not installed.
    """
    if metric not in board.columns:
        raise ParameterError(f"metric: the leaderboard has no {metric!r}; it has {board.columns}")
    figure = _titled(metric, 0.4 + 0.4 * board.height)
    axes = figure.add_subplot()
    values, low, high = (_column(board, name) for name in (metric, f"{metric}_low", f"{metric}_high"))
    places = np.arange(board.height)
    best, others = BLUE, "#a9c1dc"
    axes.barh(places, np.nan_to_num(values), height=0.24, color=[best] + [others] * (board.height - 1))
    axes.vlines(0 * places, places - 0.12, places + 0.12, color=PALE, linewidth=1)  # shows bars of length 0 too
    spans = np.flatnonzero(~np.isnan(low + high))  # coverage has none
    reach = [values[spans] - low[spans], high[spans] - values[spans]]
    # Clipping would cut the cap of the longest interval in half.
    axes.errorbar(values[spans], places[spans], xerr=reach, fmt="none", ecolor=INK, capsize=2.5, clip_on=False)
    for place, name, value in zip(places.tolist(), board["model"], values, strict=True):
        _label(axes, 0, place, _fitting(name, _ROOM), "left", bold=place == 0)
        _label(axes, 1, place, "none" if np.isnan(value) else f"{value:.4f}", "right", bold=place == 0)
    axes.set(xlim=(0, float(np.nanmax([*values, *high, 0])) or 1), ylim=(board.height - 0.7, -0.75))
    axes.set_axis_off()
    return figure


def popularity_plot(interactions: Interactions) -> Any:  # noqa: ANN401
    """The long tail: how many users each item has.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    MissingExtraError
        matplotlib is not installed.
    """
    counts = _users_per_item(interactions)
    counts = counts[counts > 0]
    figure, axes = _panel("Users of each item", "items, most popular first")
    axes.plot(np.arange(1, len(counts) + 1), counts, color=BLUE, linewidth=2)
    axes.set(xscale="log", yscale="log", xlim=_decades(1, len(counts)), ylim=_decades(counts.min(), counts.max()))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(_short_numbers())
        axis.set_minor_locator(_no_ticks())
    return figure


def concentration_plot(interactions: Interactions) -> Any:  # noqa: ANN401
    """The share of all interactions that the most popular items hold; the top 1 % are marked.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    MissingExtraError
        matplotlib is not installed.
    """
    counts = _users_per_item(interactions)
    top = 100 * np.arange(1, len(counts) + 1) / len(counts)
    held = 100 * np.cumsum(counts) / counts.sum()
    mark = max(1, 100 / len(counts))  # of few items, one is more than 1 %
    share = np.interp(mark, top, held)
    title = f"Top {mark:.2g} % of items: {share:.0f} % of interactions"
    figure, axes = _panel(title, "items, most popular first (%)")
    axes.plot(np.append(0, top), np.append(0, held), color=BLUE, linewidth=2)
    axes.plot(mark, share, "o", color=ORANGE, clip_on=False)
    axes.set(xlim=(0, 100), ylim=(0, 103))
    return figure


def loss_plot(histories: Mapping[str, ArrayLike]) -> Any:  # noqa: ANN401
    """Training loss after each iteration, a line for every model.

    Parameters
    ----------
    histories : mapping of name to (iterations,) float
        Such as ``{"als": model.loss_history_}``.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    MissingExtraError
        matplotlib is not installed.
    """
    figure, axes = _panel("Training loss", "iteration")
    lines = []
    for number, losses in enumerate(histories.values()):
        values = np.asarray(losses)
        colour, dashes = (BLUE, ORANGE, PALE)[number % 3], ("-", "--", ":")[number // 3 % 3]
        places = np.arange(1, len(values) + 1)
        lines += axes.plot(places, values, dashes, marker="o", color=colour, markersize=4, linewidth=2)
    axes.set_xlim(0.5, max(map(np.size, histories.values())) + 0.5)
    axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    axes.yaxis.set_major_formatter(_short_numbers())
    if len(histories) > 1:
        # Under the panel, where no name can cover a line.
        names = [_fitting(name, _ROOM) for name in histories]
        legend = figure.legend(lines, names, loc="outside lower left", frameon=False, fontsize=_LABEL, handlelength=3)
        for text in legend.get_texts():
            text.set(parse_math=False, color=INK)
        figure.set_figheight(figure.get_figheight() + 0.2 * len(names))
    return figure


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


def _panel(title: str, xlabel: str) -> tuple[Any, Any]:
    """A figure with one panel whose title says what its height means."""
    figure = _titled(title, 2.7)
    axes = figure.add_subplot()
    plain_axes(axes, "both")
    axes.set_xlabel(xlabel, fontsize=_LABEL)
    return figure, axes


def _titled(title: str, height: float) -> Any:  # noqa: ANN401
    figure = new_figure(PANEL, height)
    figure.suptitle(title, x=0.01, ha="left", fontsize=_TITLE, color=INK, fontweight="bold", parse_math=False)
    return figure


def _column(board: pl.DataFrame, name: str) -> Any:  # noqa: ANN401
    """The values of a column, NaN where there is none."""
    if name not in board.columns:
        return np.full(board.height, np.nan)
    return board[name].cast(pl.Float64).fill_null(np.nan).to_numpy()


def _label(axes: Any, x: int, place: float, text: str, side: str, *, bold: bool) -> None:  # noqa: ANN401
    """Write above a bar, at the left (0) or right (1) edge of the panel; names may hold dollars, which are no maths."""
    axes.text(
        x,
        place - 0.22,
        text,
        transform=axes.get_yaxis_transform(),
        ha=side,
        va="bottom",
        fontsize=_LABEL,
        color=INK,
        fontweight="bold" if bold else "normal",
        parse_math=False,
    )


def _fitting(name: str, points: float) -> str:
    """A name on one line; of one wider than so many points, beginning and end, as both tell models apart."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    bold = FontProperties(size=_LABEL, weight="bold")
    name = shown = " ".join(name.split())
    kept = min(len(name), 100)
    while kept and text_to_path.get_text_width_height_descent(shown, bold, ismath=False)[0] > points:
        kept -= 1
        shown = f"{name[: (kept + 1) // 2]}…{name[len(name) - kept // 2 :]}"
    return shown


def _users_per_item(interactions: Interactions) -> NDArray[np.int64]:
    """(n_items,), the most popular first."""
    return np.sort(np.bincount(interactions.user_items.indices, minlength=interactions.n_items))[::-1]


def _decades(low: float, high: float) -> tuple[float, float]:
    """Powers of ten around a range of positive numbers, so that a logarithmic axis has numbers at both ends."""
    first, last = np.floor(np.log10(low)), np.ceil(np.log10(high))
    return 10.0**first, 10.0 ** max(last, first + 1)


def _short_numbers() -> Any:  # noqa: ANN401
    """1,000,000 as 1M: long numbers collide where a panel is narrow."""
    from matplotlib.ticker import EngFormatter

    return EngFormatter(sep="")


def _no_ticks() -> Any:  # noqa: ANN401
    from matplotlib.ticker import NullLocator

    return NullLocator()
