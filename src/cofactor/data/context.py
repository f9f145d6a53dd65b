"""The circumstances in which ratings were given, as categories: an hour, a device, a bin of time."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import polars as pl

from cofactor.checks import is_number, nearest, shown
from cofactor.data.feature_columns import Column
from cofactor.data.features import Features
from cofactor.data.ids import IdMap
from cofactor.data.sources import READ_ERRORS
from cofactor.errors import DataError, ParameterError

if TYPE_CHECKING:
    from cofactor.data.log import Log
    from cofactor.kernels.arrays import Rows

__all__ = ["Context", "Widths", "context_codes", "in_order_of_pairs", "learned_context", "require_context", "widths_of"]

Context: TypeAlias = Sequence[str] | Mapping[str, str | float | None]
"""Columns of categories, or for each column the width of its bins: a time such as "7d", a number, or None for none."""

Widths: TypeAlias = dict[str, str | float | None]

_DURATION = re.compile(r"([1-9]\d*(us|ms|s|m|h|d|w|mo|q|y))+")
_CATEGORIES = (pl.String, pl.Categorical, pl.Enum, pl.Boolean)


def widths_of(context: Context | None) -> Widths:
    """The columns of a context, and the width of the bins of each, None where its values are categories.

    Raises
    ------
    ParameterError
        It is neither a list of names nor a mapping of names to widths, or a width is none.

    Examples
    --------
    >>> widths_of(["hour"]), widths_of({"time": "7d"})
    ({'hour': None}, {'time': '7d'})
    """
    told = "context must be names of columns, such as ['hour'], or widths of their bins by name, such as {'time': '7d'}"
    if context is None:
        return {}
    if isinstance(context, str) or not isinstance(context, Sequence | Mapping):
        raise ParameterError(f"{told}; got {shown(context)}")
    names = list(context)
    if not names:
        raise ParameterError(f"context={shown(context)} names no column; leave it out where there is none")
    if not all(isinstance(name, str) and name for name in names):
        raise ParameterError(f"{told}; got {shown(context)}")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ParameterError(f"context names {', '.join(twice)} more than once")
    if own := [name for name in names if name in ("user_id", "item_id", "rating")]:
        raise ParameterError(f"context names {own[0]!r}, which a rating is made of; rename the column if it is another")
    widths: Widths = dict(context) if isinstance(context, Mapping) else dict.fromkeys(names)
    for name, width in widths.items():
        is_time = isinstance(width, str) and _DURATION.fullmatch(width) is not None
        is_width = is_number(width) and 0 < float(width or 0) < np.inf
        if width is not None and not is_time and not is_width:
            raise ParameterError(
                f"context: bins of {name!r} must be a time such as '7d', '12h' or '1mo', a number above 0, or None for "
                f"categories, got {shown(width)}"
            )
    return widths


def require_context(columns: Sequence[str], widths: Sequence[str], what: str) -> None:
    """Raise DataError unless all columns of a context are there, naming one that looks like it."""
    for name in widths:
        if name not in columns:
            hint = nearest(name, columns) or f"; there are {', '.join(columns)}"
            raise DataError(f"{what}: there is no column {name!r}, which context names{hint}")


def learned_context(table: pl.DataFrame, widths: Widths) -> Features:
    """Which categories each column of a context has; a row of ``table`` for every rating.

    Raises
    ------
    DataError
        A column is missing, of another type than its bins need, null somewhere, or the same in every row.
    """
    require_context(table.columns, list(widths), "ratings")
    columns = []
    for name, width in widths.items():
        text = _as_text(table[name], width, "ratings")
        if n_null := text.null_count():
            raise DataError(
                f"ratings: context column {name!r} is null in {n_null:,} of {len(text):,} rows; fill it, such as "
                f"pl.col({name!r}).fill_null('unknown'), or leave such ratings out"
            )
        values = IdMap.from_values(text)
        if len(values) < 2:
            raise DataError(
                f"ratings: context column {name!r} is {values.ids[0]} in every row and tells nothing; leave it out"
                + ("" if width is None else ", or take narrower bins")
            )
        counts = np.bincount(values.rows(text, name), minlength=len(values)).astype(np.int64)
        columns.append(Column(name, "category", values, counts))
    return Features("context", columns)


def context_codes(features: Features, table: pl.DataFrame, widths: Widths, what: str) -> Rows:
    """The category of every row, (n, columns) int32, counted from 0 in its column; -1 for one that was not learned.

    Raises
    ------
    DataError
        A column is missing, or of another type than its bins need.
    """
    require_context(table.columns, list(widths), what)
    codes = np.empty((len(table), len(features.columns)), np.int32)
    for at, column in enumerate(features.columns):
        text = _as_text(table[column.name], widths[column.name], what)
        codes[:, at] = column.values.rows(text, what)
    return codes


def in_order_of_pairs(events: Log, picked: Mapping[str, pl.Expr], users: IdMap, items: IdMap) -> pl.DataFrame:
    """One value of each column for every (user, item) of a log, by user and item as a sparse matrix has them."""
    groups = events.frame.group_by(events.user, events.item).agg(of.alias(name) for name, of in picked.items())
    try:
        found = groups.collect(engine="streaming")
    except READ_ERRORS as error:
        raise events.explained(error, list(picked)) from error
    rows = users.rows(found[events.user], "users"), items.rows(found[events.item], "items")
    return found.select(*picked)[np.lexsort(rows[::-1])]


def _as_text(column: pl.Series, width: str | float | None, what: str) -> pl.Series:
    """Categories as text; a bin by where it begins."""
    dtype, name = column.dtype, column.name
    if dtype == pl.Null:
        return column.cast(pl.String)
    is_time = dtype in (pl.Date, pl.Datetime)
    if width is None:
        if dtype.is_integer() or dtype in _CATEGORIES:
            return column.cast(pl.String)
        way = f"context={{{name!r}: '7d'}}" if is_time else f"context={{{name!r}: 1.0}}"
        wanted = f"categories are text, whole numbers or true and false; for bins give their width: {way}"
    elif isinstance(width, str):
        if is_time:
            if getattr(dtype, "time_zone", None) is not None:
                column = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
            return column.cast(pl.Datetime("us")).dt.truncate(width).dt.to_string("%Y-%m-%d %H:%M:%S%.f")
        wanted = f"bins of {width!r} are of times: name them in read_events(time=...), or cast them to pl.Datetime"
    else:
        if dtype.is_numeric():
            return (column.cast(pl.Float64) / float(width)).floor().cast(pl.Int64, strict=False).cast(pl.String)
        wanted = f"bins of {width:g} are of numbers" + ("; of times give a width such as '7d'" if is_time else "")
    raise DataError(f"{what}: context column {name!r} holds {dtype}; {wanted}")
