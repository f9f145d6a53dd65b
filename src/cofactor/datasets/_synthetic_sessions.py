"""Session logs with planted clusters of items, at any size.

Items belong to clusters of about twenty, whose popularity has a long tail, and so has that of the items inside. A
session stays in a cluster, now and then goes to another one, and comes back to items that it had: what is next is an
item of the present cluster, or one of the session.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl

from cofactor.checks import check_at_least, check_type, is_number
from cofactor.data.events import Events, read_events
from cofactor.errors import ParameterError
from cofactor.system.memory import require_memory
from cofactor.system.parquet import write_parquet_parts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["planted_clusters", "synthetic_sessions"]

_EVENT_TYPES = {"clicks": 0.9, "carts": 0.075, "orders": 0.025}
_CLUSTER = 20  # items
_LENGTH_SPREAD = 1.2  # of the logarithm: the median session is half as long as the mean, one of a thousand is endless
_LONGEST = 500
_CLUSTER_POWER, _ITEM_POWER = 2.5, 1.8  # of uniform numbers: more makes the first clusters and items more popular
_GAP, _GAP_SPREAD = 40.0, 1.5  # seconds between events: their median, and the spread of the logarithm
_CHUNK = 1 << 21  # events made together
_MOST_ROWS, _MOST_DAYS = 2**31 - 1, 36_500


class _Plan(NamedTuple):
    n_sessions: int
    n_items: int
    mean_length: float
    revisit: float
    leave: float
    start: datetime
    days: float
    types: pl.Series
    shares: NDArray[np.float64]
    seed: int


def planted_clusters(n_items: int, seed: int = 0) -> NDArray[np.int32]:
    """Which cluster each item of `synthetic_sessions` belongs to, for the same arguments: (n_items,) int32."""
    _check_items(n_items)
    check_at_least("seed", seed, 0, whole=True)
    clusters = np.empty(n_items, np.int32)
    clusters[_names(n_items, seed)] = np.minimum(np.arange(n_items) // _CLUSTER, max(1, n_items // _CLUSTER) - 1)
    return clusters


def synthetic_sessions(
    n_sessions: int = 10_000,
    n_items: int = 2_000,
    *,
    mean_length: float = 17.0,
    revisit: float = 0.25,
    leave: float = 0.1,
    start: datetime = datetime(2024, 1, 1),
    days: float = 28.0,
    event_types: Mapping[str, float] = _EVENT_TYPES,
    path: str | Path | None = None,
    seed: int = 0,
) -> Events:
    """Draw sessions with long-tailed lengths over items in planted clusters.

    Parameters
    ----------
    n_sessions, n_items : int
        Ids are ``0 .. n - 1``. Some items may not occur.
    mean_length : float
        Events of a session: lognormal, from 1 to 500, about so many in the mean.
    revisit : float
        How likely an event after the first is on an item that the session had.
    leave : float
        How likely an event goes to another cluster.
    start : datetime
        Sessions begin evenly over ``days`` days from here, in the order of their ids.
    days : float
    event_types : mapping of name to share
        Each event's type is drawn independently with these probabilities.
    path : path, optional
        Write the events to this Parquet file, some millions at a time, and read them from it: any number of sessions in
        little memory. Without it they are in memory, 20 bytes each.
    seed : int
        Equal arguments give equal events, in memory or not.

    Returns
    -------
    Events
        Columns ``session`` (int32), ``item_id`` (int32), ``time`` (milliseconds), ``event_type`` (enum), in the order
        of sessions, then of time.

    Raises
    ------
    ParameterError
        A number is out of its range, or the file cannot be written.
    """
    check_at_least("n_sessions", n_sessions, 1, whole=True)
    if n_sessions > _MOST_ROWS:
        raise ParameterError(f"n_sessions={n_sessions:,}; it must be at most {_MOST_ROWS:,}, which 32 bits tell apart")
    _check_items(n_items)
    check_at_least("mean_length", mean_length, 1)
    check_at_least("days", days, 0, above=True)
    if days > _MOST_DAYS:
        raise ParameterError(f"days={days!r}; it must be at most {_MOST_DAYS:,}, a hundred years")
    check_at_least("seed", seed, 0, whole=True)
    for name, share in {"revisit": revisit, "leave": leave}.items():
        check_at_least(name, share, 0)
        if share > 1:
            raise ParameterError(f"{name}={share!r}: it must be a probability, at most 1")
    check_type("start", start, datetime, "a datetime")
    check_type("event_types", event_types, Mapping, "a mapping of names to shares")
    if not event_types or not all(is_number(share) and share > 0 for share in event_types.values()):
        raise ParameterError(f"event_types={dict(event_types)!r}: give at least one name with a positive share")
    types = pl.Series(list(event_types), dtype=pl.Enum(list(event_types)))
    shares = np.array(list(event_types.values()), np.float64)
    plan = _Plan(n_sessions, n_items, mean_length, revisit, leave, start, days, types, shares / shares.sum(), seed)
    source: pl.DataFrame | str | Path
    if path is None:
        source = pl.concat(_chunks(plan))
    else:
        schema: dict[str, type[pl.DataType] | pl.DataType] = {
            "session": pl.Int32,
            "item_id": pl.Int32,
            "time": pl.Datetime("ms"),
            "event_type": types.dtype,
        }
        write_parquet_parts(lambda: _chunks(plan), schema, path)
        source = path
    return read_events(source, user=None, item="item_id", time="time", session="session", event_type="event_type")


def _check_items(n_items: int) -> None:
    check_at_least("n_items", n_items, 1, whole=True)
    if n_items > _MOST_ROWS:
        raise ParameterError(f"n_items={n_items:,}; it must be at most {_MOST_ROWS:,}, which 32 bits tell apart")
    require_memory(12 * n_items, f"n_items={n_items:,}", "fewer items")


def _chunks(plan: _Plan) -> Iterator[pl.DataFrame]:
    """Some sessions after the other, each chunk from a stream of numbers of its own."""
    names = _names(plan.n_items, plan.seed)
    size = max(1, int(_CHUNK / plan.mean_length))
    for chunk, first in enumerate(range(0, plan.n_sessions, size)):
        rng = np.random.default_rng([plan.seed, 2, chunk])
        yield _events(plan, first, min(size, plan.n_sessions - first), names, rng)


def _events(plan: _Plan, first: int, n: int, names: NDArray[np.int32], rng: np.random.Generator) -> pl.DataFrame:
    mean = np.log(plan.mean_length) - _LENGTH_SPREAD**2 / 2
    lengths = np.clip(np.rint(np.exp(rng.normal(mean, _LENGTH_SPREAD, n))), 1, _LONGEST).astype(np.int64)
    starts = np.cumsum(lengths) - lengths
    total = int(lengths.sum())
    place = np.arange(total) - np.repeat(starts, lengths)
    seconds = (first + np.arange(n) + rng.random(n)) * (timedelta(days=plan.days).total_seconds() / plan.n_sessions)
    gaps = np.exp(rng.normal(np.log(_GAP), _GAP_SPREAD, total))
    gaps[starts] = 0
    since = np.cumsum(gaps)
    since += np.repeat(seconds - since[starts], lengths)
    return pl.DataFrame(
        {
            "session": np.repeat(np.arange(first, first + n, dtype=np.int32), lengths),
            "item_id": names[_items(plan, place, rng)],
            "time": np.datetime64(plan.start, "ms") + (since * 1e3).astype("timedelta64[ms]"),
            "event_type": plan.types.gather(
                np.minimum(np.searchsorted(np.cumsum(plan.shares), rng.random(total)), len(plan.shares) - 1)
            ),
        }
    )


def _items(plan: _Plan, place: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """The item of every event, by its place in its session, before items get their names."""
    total, n_clusters = len(place), max(1, plan.n_items // _CLUSTER)
    goes = (place == 0) | (rng.random(total) < plan.leave)
    drawn = (n_clusters * rng.random(total) ** _CLUSTER_POWER).astype(np.int64)
    cluster = drawn[np.maximum.accumulate(np.where(goes, np.arange(total), 0))]
    begin = cluster * _CLUSTER
    size = np.where(cluster == n_clusters - 1, plan.n_items - begin, _CLUSTER)
    items = begin + (size * rng.random(total) ** _ITEM_POWER).astype(np.int64)
    again = (place > 0) & (rng.random(total) < plan.revisit)
    back = np.where(again, 1 + (place * rng.random(total)).astype(np.int64), 0)
    source = np.arange(total) - back
    while (source != (further := source[source])).any():  # an event that came again itself
        source = further
    found: NDArray[np.int64] = items[source]
    return found


def _names(n_items: int, seed: int) -> NDArray[np.int32]:
    """The ids of items in the order of clusters, so that an id says nothing."""
    return np.random.default_rng([seed, 1]).permutation(n_items).astype(np.int32)
