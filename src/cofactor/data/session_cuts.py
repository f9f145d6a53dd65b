"""The split of session competitions: the sessions of the last days, each cut at a random event, and what came after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from cofactor.checks import check_type
from cofactor.data.cuts import cut_of, generator, time_of, time_range
from cofactor.data.log import Log
from cofactor.data.settled import settled
from cofactor.errors import DataError, ParameterError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date, datetime, timedelta

    from numpy.typing import NDArray

    from cofactor.data.events import Events

__all__ = ["SessionSplit", "cut_sessions"]


@dataclass(frozen=True, eq=False)
class SessionSplit:
    """Events to learn from, sessions to go on with, and what they went on with; unpacks as ``train, test, labels``.

    Parameters
    ----------
    train : Events
    test : Events
        The beginning of every test session, the oldest first; its user is the session.
    labels : DataFrame
        ``user_id`` (the session), ``item_id``, ``event_type`` (text): what is to be found, each once.
    """

    train: Events
    test: Events
    labels: pl.DataFrame

    def __iter__(self) -> Iterator[Events | pl.DataFrame]:
        """Train, then test, then labels."""
        return iter((self.train, self.test, self.labels))


def cut_sessions(
    events: Events,
    test: str | timedelta | date | datetime = "7d",
    *,
    next_only: Sequence[str] = ("clicks",),
    seed: int = 0,
) -> SessionSplit:
    """Make a labelled test set of the sessions of the last days, as the OTTO competition does.

    Train is everything before the cut. Test sessions are those that begin at or after it. Events of theirs on items
    that train does not hold are left out, then sessions of fewer than two events. Each session left is cut at random: 1
    to all but one of its events are its beginning, in ``test``. Labels are, of the types in ``next_only``, the next
    item after the cut, and of all other types every item after it; events without a type are none. What is left out,
    later events of sessions that began before the cut among it, is counted in ``test.notes``.

    Departures from the competition (Normann et al. 2023, ``otto-de/recsys-dataset``): sessions of one event stay in
    train, and a session that begins at the very moment of the cut is a test session. The events at or after the cut
    are held in memory, and the sessions and items of train.

    Parameters
    ----------
    events : Events
        With the roles time and event_type. Sessions are the ``session`` role, else the users; equal times are in the
        order of the log.
    test : str, timedelta, date or datetime
        The cut, as in ``by_time``.
    next_only : sequence of str
        Types of which only the next one counts.
    seed : int
        Equal seeds cut equal sessions at equal events, whatever the order of the files.

    Returns
    -------
    SessionSplit

    Raises
    ------
    DataError
        The events have no times or no types, a side is empty, or no test session is left.
    ParameterError
        ``test`` or ``next_only`` is none of the above, or a type in ``next_only`` does not occur.
    """
    check_type("events", events, Log, "Events")
    rng = generator(seed)
    wanted = _names(next_only)
    if events.event_type is None:
        raise DataError("cut_sessions needs event types; name their column: read_events(..., event_type=...)")
    events = settled(events, in_order=True)
    time, session = time_of(events, "cut_sessions"), events.session if events.session is not None else events.user
    cut = cut_of(test, *time_range(events, time))
    train = events.filter(pl.col(time) < cut)
    kind = pl.col(str(events.event_type)).cast(pl.String)
    old, items, types, later = pl.collect_all(
        [
            train.frame.select(pl.col(session).unique()),
            train.frame.select(pl.col(events.item).unique()),
            events.frame.select(kind.drop_nulls().unique().sort()),
            events.frame.filter((pl.col(time) >= cut) & pl.col(session).is_not_null()),
        ],
        engine="streaming",
    )
    _check_occur(wanted, types.to_series())
    new = later.join(old, on=session, how="anti", maintain_order="left")
    known = new.join(items, on=events.item, how="semi", maintain_order="left").sort(session, time, maintain_order=True)
    lengths = known.group_by(session, maintain_order=True).len()
    kept = lengths.filter(pl.col("len") > 1)
    if kept.is_empty():
        told = f"no session that begins at or after the cut {cut} has two events on items that train holds"
        raise DataError(f"{told}; give an earlier cut")
    notes = (
        f"cut_sessions: {len(later) - len(new):,} of {len(later):,} events at or after the cut {cut} are of sessions "
        f"that began before it, {len(new) - len(known):,} of items that train does not hold, and "
        f"{len(lengths) - len(kept):,} of {len(lengths):,} sessions have one event; left out"
    )
    known = known.join(kept.select(session), on=session, how="semi", maintain_order="left")
    is_begun = _begun(kept["len"].to_numpy().astype(np.int64), rng)
    after = known.filter(~is_begun).select(user_id=session, item_id=events.item, event_type=kind)
    notes += _untyped(after)
    beginnings = replace(events.with_frame(known.filter(is_begun)), user=session, notes=(*events.notes, notes))
    return SessionSplit(train, beginnings, _labels(after.drop_nulls("event_type"), wanted))


def _check_occur(wanted: list[str], types: pl.Series) -> None:
    if missing := [name for name in wanted if name not in types]:
        raise ParameterError(f"next_only: there are no events of {missing}; the types are {', '.join(types)}")


def _begun(sizes: NDArray[np.int64], rng: np.random.Generator) -> pl.Series:
    """Of every event of sessions of such sizes whether it lies before a cut drawn at random."""
    begun = 1 + (rng.random(len(sizes)) * (sizes - 1)).astype(np.int64)
    place = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return pl.Series(place < np.repeat(begun, sizes))


def _untyped(after: pl.DataFrame) -> str:
    """What the note adds where there are events without a type."""
    n = after["event_type"].null_count()
    return f"; {n:,} of {len(after):,} events after the cuts have no type, and are no labels" if n else ""


def _labels(after: pl.DataFrame, next_only: list[str]) -> pl.DataFrame:
    """Each item once of what came after the cuts, of some types the next one only."""
    first = pl.col("event_type").is_in(next_only)
    parts = [
        after.filter(first).unique(["user_id", "event_type"], keep="first", maintain_order=True),
        after.filter(~first).unique(maintain_order=True),
    ]
    return pl.concat(parts).sort("user_id", maintain_order=True)


def _names(next_only: Sequence[str]) -> list[str]:
    names = list(next_only) if isinstance(next_only, Sequence) and not isinstance(next_only, str) else [None]
    if not all(isinstance(name, str) for name in names):
        raise ParameterError(f"next_only={next_only!r}; it must be a list of event types, such as ['clicks']")
    return [str(name) for name in names]
