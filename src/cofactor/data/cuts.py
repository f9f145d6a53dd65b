"""Where splits cut a log: in time, or at a share of it."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from cofactor.checks import check_at_least, shown
from cofactor.data.weights import duration
from cofactor.errors import DataError, ParameterError

if TYPE_CHECKING:
    from cofactor.data.log import Log

__all__ = ["cut_of", "generator", "share_of", "time_of", "time_range"]


def time_of(events: Log, split: str) -> str:
    """The column of times; DataError where there is none."""
    if events.time is None:
        raise DataError(f"{split} needs the time of every event; name its column: read_events(..., time=...)")
    return events.time


def time_range(events: Log, time: str) -> tuple[datetime, datetime]:
    """The times of the oldest and of the newest event; DataError where an event has none."""
    column = pl.col(time)
    oldest, newest, n_null = (
        events.frame.select(oldest=column.min(), newest=column.max(), n_null=column.null_count())
        .collect(engine="streaming")
        .row(0)
    )
    if n_null:
        raise DataError(f"column {time!r}: {n_null} events have no time; filter them out before the split")
    if newest is None:
        raise DataError("the log has no events")
    return oldest, newest


def cut_of(test: str | timedelta | date | datetime, oldest: datetime, newest: datetime) -> datetime:
    """The point in time that is meant; DataError where it leaves nothing before it, or nothing from it on."""
    cut = _meant(test, newest)
    if not oldest < cut <= newest:
        side, where = ("train", "before") if cut <= oldest else ("test", "at or after")
        raise DataError(
            f"{side} would be empty: no event lies {where} the cut {cut} (test={test!r}); "
            f"the log runs from {oldest} to {newest}; give a cut inside it"
        )
    return cut


def _meant(test: str | timedelta | date | datetime, newest: datetime) -> datetime:
    if isinstance(test, str):
        test = _parsed(test)
    if isinstance(test, timedelta):
        span = duration("test", test)
        return newest - span if span < newest - datetime.min else datetime.min
    if isinstance(test, datetime):
        return test.astimezone(UTC).replace(tzinfo=None) if test.tzinfo else test
    if isinstance(test, date):
        return datetime(test.year, test.month, test.day)
    raise ParameterError(f"test={shown(test)}: give a date, a datetime, a timedelta or text such as '28d'")


def _parsed(text: str) -> datetime | timedelta:
    try:
        return datetime.fromisoformat(text.strip())
    except ValueError:
        pass
    try:
        return duration("test", text.strip().removeprefix("last"))
    except ParameterError as error:
        raise ParameterError(f"{error}; or a date such as '2024-03-01'") from None


def share_of(fraction: float, n: int, what: str) -> int:
    """Return the number of test units of ``n``, with something left for both sides."""
    n_test = round(fraction * n)
    if not 0 < n_test < n:
        side = "test" if n_test == 0 else "train"
        way_out = "at least two are needed" if n < 2 else f"give a {'larger' if n_test == 0 else 'smaller'} one"
        raise DataError(f"{side} would be empty: fraction={fraction} of {n} {what} puts {n_test} into test; {way_out}")
    return n_test


def generator(seed: int) -> np.random.Generator:
    """Random numbers; ParameterError unless the seed is a whole number of at least 0."""
    check_at_least("seed", seed, 0, whole=True)
    return np.random.default_rng(seed)
