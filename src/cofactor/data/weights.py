"""Ready weight expressions for ``Events.interactions``.

They are plain polars expressions and combine with any other: by ``+ * /``, by aggregations such as ``.sum()``
and ``.max()``, and with each other. An expression with one value per event is summed over the events of a pair.

>>> import polars as pl
>>> by_type({"view": 1, "cart": 5}) * half_life("30d")  # doctest: +SKIP
>>> 1 + pl.len() + 10 * pl.col("add_to_cart").sum()  # doctest: +SKIP
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, TypeAlias

import polars as pl

from cofactor.checks import check_type, is_number, shown
from cofactor.errors import ParameterError

if TYPE_CHECKING:
    from typing import Any

__all__ = ["EVENT_TYPE", "NEWEST", "TIME", "Duration", "by_type", "capped", "duration", "half_life", "recent"]

# Stand for columns that only the events know; Events.interactions puts the real ones in their place.
EVENT_TYPE, TIME, NEWEST = "cofactor:event_type", "cofactor:time", "cofactor:newest"

Duration: TypeAlias = "str | timedelta"

_MASKS = 8  # so many types are told apart by a column each, twice as fast as by a look-up of one column

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def by_type(weights: Mapping[str | int, float], column: str | None = None) -> pl.Expr:
    """Weigh every event by its type.

    Parameters
    ----------
    weights : mapping
        Weight of every type of event, e.g. ``{"clicks": 1, "carts": 3, "orders": 6}``. An event of another
        type, or without one, is an error when the interactions are built; filter such events out first.
    column : str, optional
        The column of types; the ``event_type`` role of the events unless given.

    Returns
    -------
    pl.Expr
        One Float64 per event.

    Raises
    ------
    ParameterError
        A weight is not a finite number, a type is named twice, as a number and as text, or there is none.
    """
    check_type("weights", weights, Mapping, "a mapping of event types to numbers")
    _check_column("column", column)
    if not weights:
        raise ParameterError("weights is empty; it must hold the weight of every event type")
    for name, weight in weights.items():
        if not is_number(weight):
            raise ParameterError(f"weights[{name!r}] is {shown(weight)}; it must be a finite number")
    names, numbers = [str(name) for name in weights], [float(weight) for weight in weights.values()]
    if len(set(names)) < len(names):
        raise ParameterError("weights names a type twice, as a number and as text; give it once")
    # The cast to an enum of the known types fails on any other and lists it. No when/then chain: polars evaluates
    # its branches on masked input, where the cast would fail on types that another branch covers.
    types = pl.col(column or EVENT_TYPE).cast(pl.String).fill_null("null")
    code = types.cast(pl.Enum(names)).to_physical()
    if len(names) <= _MASKS:
        return pl.sum_horizontal((code == position) * w for position, w in enumerate(numbers))
    return code.replace_strict(list(range(len(names))), numbers, return_dtype=pl.Float64)


def half_life(life: Duration, time: str | None = None, reference: datetime | date | str | None = None) -> pl.Expr:
    """Weigh every event by its age: 1 at the reference, 1/2 one life before it, 1/4 two lives before it.

    Parameters
    ----------
    life : str or timedelta
        Such as ``"30d"``; units s, m, h, d, w.
    time : str, optional
        A datetime column; the ``time`` role of the events unless given.
    reference : datetime, date or ISO text, optional
        The moment of age 0; the newest event unless given. Later events weigh more than 1.

    Returns
    -------
    pl.Expr
        One Float64 per event.

    Raises
    ------
    ParameterError
        ``life`` or ``reference`` cannot be read, or ``life`` is not positive.
    """
    span = duration("life", life)
    return (_age(time, reference) * (-math.log(2) / (span / timedelta(microseconds=1)))).exp()


def recent(window: Duration, time: str | None = None, reference: datetime | date | str | None = None) -> pl.Expr:
    """Weigh the events of the last ``window`` before the reference 1, older ones 0.

    The bounds are those of ``split.by_time``: an event exactly one window old still counts.

    Parameters
    ----------
    window : str or timedelta
        Such as ``"30d"``; units s, m, h, d, w.
    time, reference
        As in `half_life`.

    Returns
    -------
    pl.Expr
        One Float64 per event.

    Raises
    ------
    ParameterError
        ``window`` or ``reference`` cannot be read, or ``window`` is not positive.
    """
    span = duration("window", window)
    return (_age(time, reference) <= span // timedelta(microseconds=1)).cast(pl.Float64)


def _age(time: str | None, reference: datetime | date | str | None) -> pl.Expr:
    """Microseconds from an event to the reference."""
    _check_column("time", time)
    at = pl.col(NEWEST) if reference is None else pl.lit(_moment(reference), dtype=pl.Datetime("us"))
    return (at - pl.col(time or TIME)).dt.total_microseconds()


def capped(weight: pl.Expr, maximum: float) -> pl.Expr:
    """Limit a weight to ``maximum``: per event, or per pair if ``weight`` is an aggregation.

    ``capped(pl.len(), 5)`` counts up to five events of a pair.

    Raises
    ------
    ParameterError
        ``weight`` is no expression, or ``maximum`` is not a positive finite number.
    """
    check_type("weight", weight, pl.Expr, "a polars expression")
    if not (is_number(maximum) and maximum > 0):
        raise ParameterError(f"maximum={shown(maximum)}; it must be a positive finite number")
    return weight.clip(upper_bound=maximum)


def duration(name: str, value: Duration) -> timedelta:
    """Read a positive length of time such as ``"28d"``, ``"1.5h"`` or a timedelta.

    Parameters
    ----------
    name : str
        The parameter's name, for the message.
    value : str or timedelta

    Raises
    ------
    ParameterError
        It cannot be read, or is not positive.
    """
    check_type("name", name, str, "a word for messages")
    span = value
    if isinstance(value, str) and (match := re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smhdw])\s*", value)):
        try:
            span = timedelta(**{_UNITS[match[2]]: float(match[1])})
        except OverflowError:
            raise ParameterError(f"{name}={shown(value)}; it must be at most {timedelta.max.days:,} days") from None
    if not isinstance(span, timedelta) or span <= timedelta(0):
        raise ParameterError(
            f"{name}={shown(value)}; it must be a positive number with a unit of s, m, h, d or w, such as '30d', "
            "or a timedelta"
        )
    return span


def _moment(value: Any) -> datetime:  # noqa: ANN401
    if isinstance(value, datetime | date | str):
        with suppress(ValueError):
            moment = datetime.fromisoformat(value if isinstance(value, str) else value.isoformat())
            return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)
    raise ParameterError(f"reference={shown(value)}; it must be a datetime, a date, or one of them as ISO 8601 text")


def _check_column(name: str, column: object) -> None:
    if column is not None:
        check_type(name, column, str, "the name of a column")
