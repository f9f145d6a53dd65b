"""Splits of an event log into train and test; every event goes to exactly one side.

Splits stay lazy where the log is files or tables, filtered or with columns added. `by_time` and the cold ones are
filter expressions; the others need a label per event (one byte), which is computed once and put beside the log row by
row. Queries that may give other rows or another order at every run (``unique``, joins, samples ...) are run once and
held in memory; the notes of both sides say so.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from cofactor.checks import check_at_least, check_fraction
from cofactor.data.cuts import cut_of, generator, share_of, time_of, time_range
from cofactor.data.session_cuts import SessionSplit, cut_sessions
from cofactor.data.settled import settled
from cofactor.errors import DataError, ParameterError
from cofactor.system.views import View, Viewed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date, datetime, timedelta

    from cofactor.data.events import Events

__all__ = [
    "SessionSplit",
    "Split",
    "Unknown",
    "by_time",
    "cold_items",
    "cold_users",
    "cut_sessions",
    "k_fold",
    "leave_last",
    "random",
]

_LABEL = "__split_label"
_MAX_FOLDS = 255  # what a label of one byte can tell apart


@dataclass(frozen=True, slots=True)
class Unknown:
    """What the test side holds and train does not.

    Parameters
    ----------
    users, items : int
        Distinct users and items of test that never occur in train.
    events : int
        Test events of such a user or item.
    of_users, of_items, of_events : int
        Totals of the test side.
    """

    users: int
    items: int
    events: int
    of_users: int
    of_items: int
    of_events: int

    def __str__(self) -> str:
        return (
            f"unknown to train: {self.users:,} of {self.of_users:,} test users, "
            f"{self.items:,} of {self.of_items:,} test items, "
            f"{self.events:,} of {self.of_events:,} test events"
        )


@dataclass(frozen=True, repr=False, eq=False)
class Split(Viewed):
    """Two disjoint parts of an event log; unpacks as ``train, test``.

    Parameters
    ----------
    train, test : Events
    history : Events or None
        Earlier events of the users in ``test``, to fold them in (`cold_users` with ``history_fraction``).
    """

    train: Events
    test: Events
    history: Events | None = None

    def __iter__(self) -> Iterator[Events]:
        """Train, then test."""
        return iter((self.train, self.test))

    def __repr__(self) -> str:
        parts = {"train": self.train, "history": self.history, "test": self.test}
        return "\n".join(f"{name}: {part!r}" for name, part in parts.items() if part is not None)

    def _view(self) -> View:
        parts = {"train": self.train, "history": self.history, "test": self.test}
        views = {name: part._view() for name, part in parts.items() if part is not None}
        unknown: Unknown | None = self.__dict__.get("unknown")  # counting costs a pass, showing does not
        named = [replace(view, title=name) for name, view in views.items()]
        return View("Split", parts=named, notes=() if unknown is None else (str(unknown),))

    @cached_property
    def unknown(self) -> Unknown:
        """Counts of the users, items and events of test that train does not hold, computed once."""
        train, test = self.train, self.test
        pairs = test.frame.group_by(test.user, test.item).agg(pl.len().alias("n_events"))
        seen = [train.frame.select(role).unique() for role in (train.user, train.item)]
        counts, seen_users, seen_items = pl.collect_all([pairs, *seen], engine="streaming")
        users, items, n = counts[test.user], counts[test.item], counts["n_events"]
        new_user = ~users.is_in(seen_users.to_series().implode())
        new_item = ~items.is_in(seen_items.to_series().implode())
        return Unknown(
            users=users.filter(new_user).n_unique(),
            items=items.filter(new_item).n_unique(),
            events=int(n.filter(new_user | new_item).sum()),
            of_users=users.n_unique(),
            of_items=items.n_unique(),
            of_events=int(n.sum()),
        )


def by_time(events: Events, test: str | timedelta | date | datetime) -> Split:
    """Put what happened at or after a point in time into test, everything before into train.

    Parameters
    ----------
    events : Events
        With a time role.
    test : str, timedelta, date or datetime
        The cut: a date or datetime (also as ISO text; UTC unless it has an offset), or how far before the
        newest event it lies: a timedelta, ``"28d"``, ``"last 28d"``; units s, m, h, d, w.

    Returns
    -------
    Split

    Raises
    ------
    DataError
        The events have no times, or one side is empty; the message has the cut and the range of the log.
    ParameterError
        ``test`` is none of the above.
    """
    events = settled(events, in_order=False)
    time = time_of(events, "by_time")
    cut = cut_of(test, *time_range(events, time))
    return Split(events.filter(pl.col(time) < cut), events.filter(pl.col(time) >= cut))


def leave_last(events: Events, n: int = 1) -> Split:
    """Put the last ``n`` events of every user into test.

    Of events at the same time, the one further down in the log is the later one. Users with ``n`` events or
    fewer stay wholly in train; ``train.notes`` says how many. The users and times of the log are held in
    memory once.

    Parameters
    ----------
    events : Events
        With a time role.
    n : int

    Returns
    -------
    Split

    Raises
    ------
    DataError
        The events have no times, or no user has more than ``n``.
    ParameterError
        ``n`` is below 1.
    """
    check_at_least("n", n, 1, whole=True)
    events = settled(events, in_order=True)
    time = time_of(events, "leave_last")
    time_range(events, time)
    rank, count = pl.col(time).rank("ordinal").over(events.user), pl.len().over(events.user)
    is_test = events.frame.select(((count > n) & (rank > count - n)).cast(pl.UInt8)).collect().to_series()
    if not is_test.sum():
        raise DataError(f"test would be empty: none of the users has more than n={n} events; choose a smaller n")
    n_users = events.frame.select(pl.col(events.user).n_unique()).collect(engine="streaming").item()
    n_kept = n_users - int(is_test.sum()) // n
    note = f"leave_last: {n_kept:,} of {n_users:,} users have n={n} events or fewer and stay wholly in train"
    train = replace(_labelled(events, is_test, 0), notes=(*events.notes, *([note] if n_kept else [])))
    return Split(train, _labelled(events, is_test, 1))


def random(events: Events, fraction: float, seed: int = 0) -> Split:
    """Put ``round(fraction * n_events)`` events into test, chosen at random.

    Every event is drawn for itself: other events of the same user stay in train, also later ones. Where the
    order in time matters, `by_time` is the honest split.

    Parameters
    ----------
    events : Events
    fraction : float
        Share of the events, between 0 and 1.
    seed : int
        Equal seeds give equal splits, whatever the number of threads or the sizes of the files.

    Returns
    -------
    Split

    Raises
    ------
    DataError
        One side is empty.
    ParameterError
        ``fraction`` is not between 0 and 1.
    """
    check_fraction("fraction", fraction)
    rng = generator(seed)
    events = settled(events, in_order=True)
    n_test = share_of(fraction, events.n_events, "events")
    labels = np.zeros(events.n_events, np.uint8)
    labels[:n_test] = 1
    rng.shuffle(labels)
    label = pl.Series(labels)
    return Split(_labelled(events, label, 0), _labelled(events, label, 1))


def k_fold(events: Events, k: int = 5, seed: int = 0) -> list[Split]:
    """Deal the events at random into ``k`` parts; each is the test side once.

    Parameters
    ----------
    events : Events
    k : int
        2 to 255. The sizes of the parts differ by at most one.
    seed : int
        As in `random`.

    Returns
    -------
    list of Split

    Raises
    ------
    DataError
        There are fewer than ``k`` events.
    ParameterError
        ``k`` is out of range.
    """
    check_at_least("k", k, 2, whole=True)
    if k > _MAX_FOLDS:
        raise ParameterError(f"k must be at most {_MAX_FOLDS}, got {k}")
    rng = generator(seed)
    events = settled(events, in_order=True)
    if events.n_events < k:
        raise DataError(f"k={k}: the log has only {events.n_events} events; choose a smaller k")
    labels = np.resize(np.arange(k, dtype=np.uint8), events.n_events)
    rng.shuffle(labels)
    label = pl.Series(labels)
    return [Split(_labelled(events, label, fold, keep=False), _labelled(events, label, fold)) for fold in range(k)]


def cold_users(events: Events, fraction: float, seed: int = 0, history_fraction: float | None = None) -> Split:
    """Hold out ``round(fraction * n_users)`` users with all their events; train never sees them.

    Parameters
    ----------
    events : Events
        With a time role where ``history_fraction`` is given.
    fraction : float
        Share of the users, between 0 and 1.
    seed : int
        Equal seeds hold out equal users.
    history_fraction : float, optional
        How much of each held-out user's events, the earliest ones, goes to `Split.history` instead of
        ``test``: rounded down, but at least one event of a user who has two or more.

    Returns
    -------
    Split

    Raises
    ------
    DataError
        One side is empty, or ``history_fraction`` is given and the events have no times.
    ParameterError
        A fraction is not between 0 and 1.
    """
    check_fraction("fraction", fraction)
    rng = generator(seed)
    if history_fraction is not None:
        check_fraction("history_fraction", history_fraction)
    events = settled(events, in_order=history_fraction is not None)
    is_cold = _drawn(events, events.user, fraction, rng, "users")
    train, cold = events.filter(~is_cold), events.filter(is_cold)
    if history_fraction is None:
        return Split(train, cold)
    time = time_of(events, "cold_users with history_fraction")
    time_range(cold, time)
    rank, count = pl.col(time).rank("ordinal").over(events.user), pl.len().over(events.user)
    n_history = (count * history_fraction).floor().clip(lower_bound=1)
    is_test = cold.frame.select(((count == 1) | (rank > n_history)).cast(pl.UInt8)).collect().to_series()
    return Split(train, _labelled(cold, is_test, 1), _labelled(cold, is_test, 0))


def cold_items(events: Events, fraction: float, seed: int = 0) -> Split:
    """Hold out ``round(fraction * n_items)`` items with all their events; train never sees them.

    For what a model knows of new items, from their features; where these are new in time, `by_time` is closer to use.
    Measure among the cold items alone: among all a model wins by what it knows of the others. Users who had nothing
    else are unknown to train and count as zero::

        train, test = cf.split.cold_items(events, 0.2)
        pairs = test.pairs()
        lists = model.recommend(pairs["user_id"].unique(), items=pairs["item_id"].unique(), unknown="skip")
        cf.evaluate(lists, pairs)

    Parameters
    ----------
    events : Events
    fraction, seed
        As in `cold_users`, of the items.

    Returns
    -------
    Split

    Raises
    ------
    DataError, ParameterError
        One side is empty; the fraction is not between 0 and 1.
    """
    check_fraction("fraction", fraction)
    rng = generator(seed)
    events = settled(events, in_order=False)
    is_cold = _drawn(events, events.item, fraction, rng, "items")
    return Split(events.filter(~is_cold), events.filter(is_cold))


def _drawn(events: Events, column: str, fraction: float, rng: np.random.Generator, what: str) -> pl.Expr:
    """Whether an event is of one of the ids drawn at random, a share of all that the column holds."""
    ids = events.frame.select(pl.col(column).unique().sort()).collect(engine="streaming").to_series()
    chosen = rng.permutation(len(ids))[: share_of(fraction, len(ids), what)]
    return pl.col(column).is_in(ids.gather(chosen).implode())


def _labelled(events: Events, label: pl.Series, value: int, keep: bool = True) -> Events:
    """Keep the events whose label is (or, with ``keep=False``, is not) ``value``."""
    rows = pl.col(_LABEL) == value if keep else pl.col(_LABEL) != value
    frame = pl.concat([events.frame, label.alias(_LABEL).to_frame().lazy()], how="horizontal")
    return replace(events, frame=frame.filter(rows).drop(_LABEL))
