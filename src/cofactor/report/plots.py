"""Plots as matplotlib figures, made without pyplot and without touching its global state."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from cofactor.errors import MissingExtraError, ParameterError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import polars as pl
    from numpy.typing import ArrayLike

    from cofactor.data.interactions import Interactions

__all__ = [
    "BLUE",
    "GRID",
    "INK",
    "ORANGE",
    "PALE",
    "leaderboard_plot",
    "loss_plot",
    "new_figure",
    "plain_axes",
    "popularity_plot",
    "require_matplotlib",
]

INK, PALE, GRID, BLUE, ORANGE = "#1f2933", "#7b8794", "#e4e7eb", "#2563a8", "#c2571a"


def leaderboard_plot(board: pl.DataFrame, metrics: Sequence[str]) -> Any:  # noqa: ANN401
    """One panel of bars for each metric, with the intervals that the leaderboard has.

    Parameters
    ----------
    board : DataFrame
        From ``compare``; best on top, and the first bar is drawn in full colour.
    metrics : sequence of str

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ParameterError
        The leaderboard lacks a metric.
    MissingExtraError
        matplotlib is not installed.
    """
    if missing := [m for m in metrics if m not in board.columns]:
        raise ParameterError(f"metrics: the leaderboard has no {missing[0]!r}; it has {board.columns}")
    figure = new_figure(2.2 + 2.9 * len(metrics), 0.8 + 0.42 * board.height)
    for number, metric in enumerate(metrics):
        axes = figure.add_subplot(1, len(metrics), number + 1)
        plain_axes(axes, "x")
        values, places = board[metric].to_numpy(), np.arange(board.height)
        axes.barh(places, values, height=0.62, color=[BLUE] + ["#a9c1dc"] * (board.height - 1))
        reach = values
        if f"{metric}_low" in board.columns and board[f"{metric}_low"].null_count() == 0:
            low, high = board[f"{metric}_low"].to_numpy(), board[f"{metric}_high"].to_numpy()
            axes.errorbar(values, places, xerr=[values - low, high - values], fmt="none", ecolor=INK, capsize=3)
            reach = high
        for place, (value, end) in enumerate(zip(values, reach, strict=True)):
            axes.annotate(f"{value:.3f}", (end, place), (5, 0), textcoords="offset points", va="center", color=INK)
        axes.set(xlim=(0, float(reach.max()) * 1.28 or 1), ylim=(board.height - 0.5, -0.5), title=metric)
        axes.set_yticks(places, board["model"].to_list() if number == 0 else [""] * board.height, color=INK)
        axes.tick_params(axis="y", length=0)
    return figure


def popularity_plot(interactions: Interactions) -> Any:  # noqa: ANN401
    """The long tail: users per item, and the share of all interactions that the most popular items hold.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    MissingExtraError
        matplotlib is not installed.
    """
    counts = np.sort(np.bincount(interactions.user_items.indices, minlength=interactions.n_items))[::-1]
    figure = new_figure(8.4, 3.1)
    rank = np.arange(1, len(counts) + 1)
    users = figure.add_subplot(1, 2, 1)
    plain_axes(users, "both")
    users.plot(rank, counts, color=BLUE, linewidth=2)
    users.set(xscale="log", yscale="log", xlabel="items, most popular first", ylabel="users of the item")
    share = figure.add_subplot(1, 2, 2)
    plain_axes(share, "both")
    top, held = rank / len(counts), np.cumsum(counts) / counts.sum()
    share.plot(100 * top, 100 * held, color=BLUE, linewidth=2)
    at = max(1, len(counts) // 100)
    share.plot(100 * top[at - 1], 100 * held[at - 1], "o", color=ORANGE)
    share.annotate(
        f"the top 1 % of the items\nhold {100 * held[at - 1]:.0f} % of the interactions",
        (100 * top[at - 1], 100 * held[at - 1]),
        (14, -4),
        textcoords="offset points",
        va="top",
        color=ORANGE,
    )
    share.set(xlabel="items, most popular first (%)", ylabel="interactions (%)", xlim=(-2, 102), ylim=(0, 103))
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
    figure = new_figure(5.6, 3.0)
    axes = figure.add_subplot()
    plain_axes(axes, "both")
    for colour, (name, losses) in zip((BLUE, ORANGE, PALE) * len(histories), histories.items(), strict=False):
        values = np.asarray(losses)
        axes.plot(np.arange(1, len(values) + 1), values, "o-", color=colour, markersize=4, linewidth=2, label=name)
    axes.set(xlabel="iteration", ylabel="training loss")
    axes.xaxis.get_major_locator().set_params(integer=True)
    if len(histories) > 1:
        axes.legend(frameon=False)
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
