"""Charts of results: leaderboards, time, groups of users and items, the long tail, losses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from cofactor.checks import check_choice, check_type
from cofactor.data.user_items import UserItems
from cofactor.errors import ParameterError
from cofactor.report.boards import column_of, higher_is_better, metrics_of
from cofactor.report.charts import Axis, Bar, Bars, Lines, Series

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from cofactor.report.charts import Chart

__all__ = ["concentration", "leaderboard", "long_tail", "losses", "pareto", "slices"]

_POINTS = 160  # of a smooth line: more would not be seen
_LEAST_SECONDS = 1e-3


def leaderboard(board: pl.DataFrame, metric: str | None = None, *, marks: Mapping[str, str] | None = None) -> Chart:
    """One metric of every model as bars, with the intervals that the leaderboard has.

    Parameters
    ----------
    board : DataFrame
        From ``compare``; the best on top.
    metric : str, optional
        By default the first.
    marks : mapping of model to str, optional
        What stands beside the value, such as a sign of significance.

    Raises
    ------
    ParameterError
        The leaderboard lacks the metric.
    """
    metric = _metric(board, metric)
    check_type("marks", marks, Mapping | None, "what stands beside the value, by the name of the model")
    columns = [column_of(board, name) for name in (metric, f"{metric}_low", f"{metric}_high")]
    bars = []
    for name, value, low, high in zip(board["model"], *columns, strict=True):
        tip = f"{name}\n{metric} {Bars.shown(value)}"
        ends = (None, None) if np.isnan(low + high) else (float(low), float(high))
        if ends[0] is not None:
            tip += f"\n95 % interval {low:.4f} to {high:.4f}"
        bars.append(Bar(name, float(value), ends[0], ends[1], tip, (marks or {}).get(name, "")))
    return Bars(metric, f"{metric} of every model as bars", bars)


def pareto(board: pl.DataFrame, metric: str | None = None, *, seconds: str = "fit_seconds") -> Chart:
    """Accuracy against time: what no other model beats in both is joined by a line.

    Parameters
    ----------
    board : DataFrame
        From ``compare``.
    metric : str, optional
        By default the first.
    seconds : {"fit_seconds", "recommend_seconds"}

    Raises
    ------
    ParameterError
        The leaderboard lacks a column.
    """
    metric = _metric(board, metric)
    check_choice("seconds", seconds, ("fit_seconds", "recommend_seconds"))
    if seconds not in board.columns:
        raise ParameterError(f"seconds: the leaderboard has no {seconds!r}; it has {board.columns}")
    values, times = column_of(board, metric), np.maximum(column_of(board, seconds), _LEAST_SECONDS)
    names = board["model"].to_list()
    front = _front(times, values if higher_is_better(metric) else -values)
    doing = "to fit" if seconds == "fit_seconds" else "for all lists"

    def series(title: str, rows: Sequence[int], *, joined: bool) -> Series:
        tips = [f"{names[n]}\n{metric} {values[n]:.4f}\n{times[n]:.3g} s {doing}" for n in rows]
        labels = [str(n + 1) for n in rows]
        points = [float(times[n]) for n in rows], [float(values[n]) for n in rows]
        return Series(title, points[0], points[1], tips, joined=joined, marked=True, labels=labels)

    known = [n for n in range(len(names)) if not np.isnan(times[n] + values[n])]
    others = [n for n in known if n not in front]
    drawn = [series("none is faster and better", front, joined=True)] if front else []
    drawn += [series("another is faster and better", others, joined=False)] if others else []
    told = f"{metric} of every model against its seconds {doing}"
    x_axis = Axis(f"seconds {doing}", log=True)
    return Lines(f"{metric} against seconds {doing}", told, x_axis, Axis(metric), drawn, key=names)


def slices(table: pl.DataFrame, metric: str, *, by: str) -> Chart:
    """A metric in groups of users or items, a line for every model.

    Parameters
    ----------
    table : DataFrame
        ``model``, ``slice`` (name of the group, in the order of the rows), ``n``, ``value``, and ``low`` and ``high``
        if there are intervals.
    metric : str
    by : str
        What the groups mean.
    """
    check_type("table", table, pl.DataFrame, "a DataFrame of model, slice, n and value")
    if lacking := [name for name in ("model", "slice", "n", "value") if name not in table.columns]:
        raise ParameterError(f"table: there is no column {', '.join(lacking)}; there are {table.columns}")
    check_type("metric", metric, str, "the name of a metric")
    check_type("by", by, str, "a text: what the groups mean")
    names = table["slice"].unique(maintain_order=True).to_list()
    series = []
    for (model,), part in table.group_by("model", maintain_order=True):
        places = [float(names.index(name)) for name in part["slice"]]
        value, low, high = (column_of(part, name) for name in ("value", "low", "high"))
        tips = [
            f"{model}\n{by}: {name} ({n:,})\n{metric} {v:.4f}" + ("" if np.isnan(a + b) else f" ({a:.4f} to {b:.4f})")
            for name, n, v, a, b in zip(part["slice"], part["n"], value, low, high, strict=True)
        ]
        known = not np.isnan(low + high).all()
        ends = (low.tolist(), high.tolist()) if known else ([], [])
        series.append(Series(str(model), places, value.tolist(), tips, low=ends[0], high=ends[1], marked=True))
    title = f"{metric} by {by}"
    return Lines(title, f"{title}, a line for every model", Axis(by, names=names), Axis(metric, zero=True), series)


def long_tail(interactions: UserItems) -> Chart:
    """How many users each item has, from the most popular item to the least; both axes logarithmic."""
    counts = users_per_item(interactions)
    counts = np.sort(counts[counts > 0])[::-1]
    ranks = _spread(len(counts))
    values = counts[ranks - 1]
    tips = [f"item {rank:,} of {len(counts):,}\n{n:,} users" for rank, n in zip(ranks, values, strict=True)]
    line = Series("items", ranks.tolist(), values.tolist(), tips)
    axes = Axis("items, the most popular first", log=True), Axis("users of the item", log=True)
    return Lines("The long tail", "Users of each item, from the most popular to the least", *axes, [line])


def concentration(interactions: UserItems, lists: Mapping[str, pl.DataFrame] | None = None) -> Chart:
    """The share of all interactions, and of what models recommend, that goes to the most popular items.

    Parameters
    ----------
    interactions : Interactions or Ratings
        What the items' popularity is counted in.
    lists : mapping of model to DataFrame with ``item_id``, optional
        Recommendations; items unknown to the interactions are the least popular ones.
    """
    counts, x = users_per_item(interactions), interactions
    check_type("lists", lists, Mapping | None, "recommendations by the name of the model")
    order = np.argsort(-counts, kind="stable")
    all_counts = {"interactions": counts}
    for name, table in (lists or {}).items():
        rows = x.items.rows(table["item_id"])
        all_counts[name] = np.bincount(rows[rows >= 0], minlength=x.n_items)
    places = np.unique(np.round(x.n_items * np.linspace(0, 1, _POINTS) ** 2).astype(np.int64))
    top = 100 * places / x.n_items
    series = []
    for name, of in all_counts.items():
        held = np.append(0, np.cumsum(of[order]))[places]
        share = 100 * held / max(1, held[-1])
        tips = [f"{name}\nthe top {a:.2g} % of items hold {b:.1f} %" for a, b in zip(top, share, strict=True)]
        series.append(Series(name, top.tolist(), share.tolist(), ["", *tips[1:]]))
    mark = max(1.0, 100 / x.n_items)  # of few items, one is more than 1 %
    first = np.interp(mark, top, series[0].y)
    title = f"Top {mark:.2g} % of items: {first:.0f} % of interactions"
    axes = Axis("items, the most popular first (%)", zero=True), Axis("share held (%)", zero=True)
    return Lines(title, "Share of interactions and of recommendations held by the most popular items", *axes, series)


def losses(histories: Mapping[str, ArrayLike], *, title: str | None = None) -> Chart:
    """Loss after each iteration or epoch, a line for every model, or for every part of the data.

    Parameters
    ----------
    histories : mapping of name to (iterations,) float
        Such as ``{"als": model.loss_history_}``.
    title : str, optional
        By default "Training loss", of the model if there is one.
    """
    check_type("histories", histories, Mapping, "losses by the name of the model")
    check_type("title", title, str | None, "a text, or None")
    if not histories:
        raise ParameterError("histories: there is none; losses by the name of the model are expected")
    series = []
    for name, values in histories.items():
        loss = np.asarray(values, np.float64)
        steps = np.arange(1, len(loss) + 1)
        tips = [f"{name}\nafter {n}: {v:.6g}" for n, v in zip(steps, loss, strict=True)]
        kept = np.unique(np.r_[: len(loss) : max(1, len(loss) // _POINTS), max(0, len(loss) - 1)])[: len(loss)]
        x, y = steps[kept].tolist(), loss[kept].tolist()
        series.append(Series(name, x, y, [tips[n] for n in kept], marked=len(kept) <= 30))
    of_one = f"Training loss of {next(iter(histories))}" if len(histories) == 1 else "Training loss"
    return Lines(title or of_one, "Loss after every iteration", Axis("iteration", whole=True), Axis("loss"), series)


def users_per_item(interactions: UserItems) -> NDArray[np.int64]:
    """(n_items,), in the order of the items."""
    check_type("interactions", interactions, UserItems, "Interactions or Ratings")
    return np.bincount(interactions.user_items.indices, minlength=interactions.n_items)


def _metric(board: pl.DataFrame, metric: str | None) -> str:
    check_type("board", board, pl.DataFrame, "a leaderboard of compare")
    check_type("metric", metric, str | None, "the name of a column, or None")
    known = metrics_of(board)
    if metric is None:
        if not known:
            raise ParameterError(f"board: there is no metric among its columns {board.columns}; name it as metric=")
        return known[0]
    if metric not in board.columns:
        raise ParameterError(f"metric: the leaderboard has no {metric!r}; it has {board.columns}")
    return metric


def _front(times: NDArray[np.float64], goodness: NDArray[np.float64]) -> list[int]:
    """Rows that are better than all faster ones, the fastest first; rows with a NaN never are."""
    best, found = -np.inf, []
    for row in np.lexsort((-goodness, times)).tolist():
        if np.isfinite(times[row]) and goodness[row] > best:
            best = float(goodness[row])
            found.append(row)
    return found


def _spread(n: int) -> NDArray[np.int64]:
    """Ranks from 1 to n, dense at the beginning: evenly spread on a logarithmic axis."""
    return np.unique(np.round(np.geomspace(1, n, min(n, _POINTS))).astype(np.int64))
