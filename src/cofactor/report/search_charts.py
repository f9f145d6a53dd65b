"""Charts of a search for parameters: its course, and the surface that it found."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from cofactor.checks import check_flag, check_type
from cofactor.errors import ParameterError
from cofactor.report.boards import column_of
from cofactor.report.charts import Axis, Grid, Lines, Series
from cofactor.report.scales import short_number

if TYPE_CHECKING:
    from cofactor.report.charts import Chart

__all__ = ["parameter", "parameters_of", "search", "surface"]

_FACTS = ("number", "trial", "value", "seconds", "state", "error", "stopped", "fold")
_MOST_CELLS = 15  # along an axis of a grid
_LOG = 30  # a parameter over so large a ratio has a logarithmic axis


def parameters_of(trials: pl.DataFrame) -> list[str]:
    """Columns of a table of trials that are parameters with more than one value."""
    return [
        name
        for name, dtype in trials.schema.items()
        if name not in _FACTS and not dtype.is_nested() and trials[name].n_unique() > 1
    ]


def search(trials: pl.DataFrame, *, metric: str = "value", higher_is_better: bool = True) -> Chart:
    """The course of a search: every trial, and the best so far.

    Parameters
    ----------
    trials : DataFrame
        A row per trial, in their order: parameters, and ``value`` (null where a trial failed or was stopped).
    metric : str
        What the value is.
    """
    values = _values(trials, metric, higher_is_better=higher_is_better)
    sign = 1 if higher_is_better else -1
    numbers = np.arange(1, len(values) + 1)
    best = sign * np.fmax.accumulate(sign * values) if len(values) else values
    tips = [f"trial {n}\n{metric} {v:.4f}\n{_told(row)}" for n, v, row in _rows(trials, values)]
    each = Series("trials", numbers.tolist(), values.tolist(), tips, joined=False, marked=True)
    so_far = Series("best so far", numbers.tolist(), best.tolist())
    axes = Axis("trial", whole=True), Axis(metric)
    return Lines("Course of the search", f"{metric} of every trial, and the best so far", *axes, [each, so_far])


def parameter(trials: pl.DataFrame, name: str, *, metric: str = "value") -> Chart:
    """The value of every trial by one of its parameters."""
    values = _values(trials, metric)
    check_type("name", name, str, "the name of a parameter")
    _require(trials, name=name)
    column = trials[name]
    tips = [f"{metric} {v:.4f}\n{_told(row)}" for _, v, row in _rows(trials, values)]
    if column.dtype.is_numeric():
        x, axis = column_of(trials, name), Axis(name, log=_is_wide(column))
    else:
        names = [str(v) for v in column.unique(maintain_order=True)]
        x, axis = np.array([float(names.index(str(v))) for v in column]), Axis(name, names=names)
    points = Series(name, x.tolist(), values.tolist(), tips, joined=False, marked=True)
    return Lines(f"{metric} by {name}", f"{metric} of every trial by {name}", axis, Axis(metric), [points])


def surface(
    trials: pl.DataFrame,
    x: str | None = None,
    y: str | None = None,
    *,
    metric: str = "value",
    higher_is_better: bool = True,
) -> Chart:
    """The best value that was found for every pair of values of two parameters.

    Parameters
    ----------
    trials : DataFrame
        See ``search``.
    x, y : str, optional
        By default the two parameters whose means differ most in value. Numbers of more than 15 values are put
        together in ranges of about as many trials.

    Raises
    ------
    ParameterError
        A parameter is missing, or there are not two that vary.
    """
    values = _values(trials, metric, higher_is_better=higher_is_better)
    _require(trials, x=x, y=y)
    chosen = [name for name in (x, y) if name is not None]
    ranked = sorted(parameters_of(trials), key=lambda name: -_effect(trials, name))
    chosen += [name for name in ranked if name not in chosen][: 2 - len(chosen)]
    if len(chosen) < 2:
        raise ParameterError(f"trials: two parameters that vary are needed, there are {parameters_of(trials)}")
    first, second = chosen
    (columns, at), (rows, down) = _levels(trials[first]), _levels(trials[second])
    grid = np.full((len(rows), len(columns)), np.nan)
    counts = np.zeros(grid.shape, np.int64)
    better = np.fmax if higher_is_better else np.fmin
    for r, c, value in zip(down, at, values, strict=True):
        grid[r, c] = better(grid[r, c], value)
        counts[r, c] += 1
    told = [
        [f"{second} {row}, {first} {column}\n{metric} {grid[r, c]:.4f}, the best of {counts[r, c]}"
         for c, column in enumerate(columns)]
        for r, row in enumerate(rows)
    ]  # fmt: skip
    title = f"{metric} by {first} and {second}"
    note = "The best of the trials in each cell; darker is higher, the frame is the best of all."
    values_of = grid.tolist()
    return Grid(title, f"{title}, a table", first, second, columns, rows, values_of, higher_is_better, note, told)


def _values(trials: pl.DataFrame, metric: str = "value", *, higher_is_better: bool = True) -> np.ndarray:
    check_type("trials", trials, pl.DataFrame, "a table with a row per trial, such as study.trials")
    check_type("metric", metric, str, "the name of what was measured")
    check_flag("higher_is_better", higher_is_better)
    _require(trials, trials="value")
    return column_of(trials, "value")


def _require(trials: pl.DataFrame, /, **names: str | None) -> None:
    """Raise ParameterError, which names the parameter, where it names no column."""
    for parameter, name in names.items():
        check_type(parameter, name, str | None, "the name of a column")
        if name is not None and name not in trials.columns:
            raise ParameterError(f"{parameter}: the trials have no column {name!r}; they have {trials.columns}")


def _rows(trials: pl.DataFrame, values: np.ndarray) -> list[tuple[int, float, dict[str, object]]]:
    names = parameters_of(trials)
    told = trials.select(names).rows(named=True) if names else [{}] * len(trials)  # a table without columns has no rows
    return list(zip(range(1, len(values) + 1), values.tolist(), told, strict=True))


def _told(params: dict[str, object]) -> str:
    return "\n".join(f"{name} {short_number(v) if isinstance(v, float) else v}" for name, v in params.items())


def _is_wide(column: pl.Series) -> bool:
    known = column.drop_nulls().cast(pl.Float64)
    return len(known) > 0 and float(known.min()) > 0 and float(known.max()) / float(known.min()) >= _LOG  # type: ignore[arg-type]


def _effect(trials: pl.DataFrame, name: str) -> float:
    """The spread of the mean values of a parameter's levels: how much it matters, roughly."""
    _, at = _levels(trials[name])
    values = _values(trials)
    known = ~np.isnan(values)
    if not known.any():
        return 0.0
    counts = np.bincount(at[known])
    means = np.bincount(at[known], values[known])[counts > 0] / counts[counts > 0]
    return float(np.ptp(means))


def _levels(column: pl.Series) -> tuple[list[str], np.ndarray]:
    """Names of the levels of a parameter, ascending, and the level of each trial."""
    known = column.drop_nulls().unique().sort()
    if not column.dtype.is_numeric() or len(known) <= _MOST_CELLS:
        names = [short_number(v) if isinstance(v, float) else str(v) for v in known]
        keys = {v: n for n, v in enumerate(known)}
        if column.null_count():
            names.append("none")
        return names, np.array([keys.get(v, len(keys)) for v in column], np.int64)
    values = column.cast(pl.Float64).fill_null(float(known[0])).to_numpy()
    edges = np.unique(np.quantile(values, np.linspace(0, 1, 7)))
    at = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    names = [
        f"{short_number(float(f'{a:.2g}'))} to {short_number(float(f'{b:.2g}'))}" for a, b in itertools.pairwise(edges)
    ]
    return names, at
