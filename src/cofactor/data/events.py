"""Reading event logs, and what is made of them: interactions, ratings and sessions."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import polars as pl

from cofactor.checks import shown, warn
from cofactor.data.columns import Anonymous, prepare, require_columns
from cofactor.data.interactions import Interactions
from cofactor.data.log import Log
from cofactor.data.ratings import Ratings
from cofactor.data.sessions import Sessions
from cofactor.data.sources import READ_ERRORS, Format, open_source
from cofactor.data.stored import divided, open_stored
from cofactor.data.text import NullValues, TextOptions
from cofactor.data.times import ImplausibleTimes, TimeOptions, TimeUnit
from cofactor.errors import DataError, ParameterError

if TYPE_CHECKING:
    from cofactor.data.aggregate import Weight
    from cofactor.data.context import Context
    from cofactor.data.ratings import Duplicates, Scale
    from cofactor.data.sources import Source

__all__ = ["Events", "read_events"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False, repr=False)
class Events(Log):
    """A lazy event log whose columns have roles; made by ``read_events``.

    See :class:`cofactor.data.log.Log` for its attributes: ``frame``, the columns ``user``, ``item``, ``time``,
    ``session``, ``event_type`` and ``rating``, and ``notes``.
    """

    def sessions(self, *, memory_limit: int | str | None = None) -> Sessions:
        """Bring the events into memory as sessions, over the rows of their own items.

        A session is what the ``session`` role says, or else the user. For sessions over the items of a model's
        interactions see ``Sessions.of``.

        Parameters
        ----------
        memory_limit : int or str, optional
            Sort the events out of core, in so much memory beside what ids take: bytes, or text such as ``"2GB"``. The
            sessions are the same; their arrays are mapped from temporary files without names, 13 bytes an event. By
            default the events are sorted in memory, unless they are known to be too many for what is available.

        Raises
        ------
        DataError
            There are no events, or more than 256 types of them, or the disk is full.
        ParameterError
            ``memory_limit`` is no amount of memory, or too small for so many events.
        """
        return Sessions.from_events(self, memory_limit=memory_limit)

    def interactions(
        self,
        weight: Weight = None,
        *,
        min_user_count: int = 0,
        min_item_count: int = 0,
        k_core: bool = False,
    ) -> Interactions:
        """Aggregate the events into one positive weight per (user, item).

        Parameters
        ----------
        weight : pl.Expr, str or number, optional
            A polars aggregation over the events of a pair, such as
            ``1 + pl.len() + 10 * pl.col("cart").sum()``; any column may take part. An expression (or the name
            of a column) with one value per event is summed. A number is the weight of every pair. Without it,
            the number of events. ``cofactor.weights`` has ready expressions. Stored as float32.
        min_user_count, min_item_count, k_core
            See ``Interactions.filter``.

        Raises
        ------
        DataError
            There are no events, none is left by the minimal counts, one is of a type without a weight, or a weight is
            null, NaN, infinite, zero or negative.
        ParameterError
            The weight is no numeric expression over the columns, or needs a role that the events lack.
        """
        x = Interactions(*self.aggregated(weight), events=self)
        x, report = x.without_rare(min_user_count, min_item_count, k_core=k_core)
        if report is not None:
            warn(report)
        return x

    def ratings(
        self, duplicates: Duplicates = "last", *, scale: Scale | None = None, context: Context | None = None
    ) -> Ratings:
        """Bring the ratings into memory, one per (user, item); split the events first to hold some out.

        Parameters
        ----------
        duplicates : {"last", "mean", "error"}
            What becomes of several ratings of one user and item. The last is the one of the newest time, or else (and
            of equal times) the one furthest down; what is left out is counted in a ``CofactorWarning``.
        scale : (lowest, highest), optional
            The ratings that can be given. By default the lowest and the highest that were.
        context : names of columns, optional
            To keep beside the ratings, as ``ratings.context``, for models that take circumstances into account, such as
            ``FactorizationMachine(context=...)``. Of a pair that is rated again they are those of the last rating.

        Raises
        ------
        DataError
            There are no events, a rating is text, null, NaN, infinite or beyond the scale, or a pair is rated twice and
            ``duplicates="error"``.
        ParameterError
            The events have no ``rating`` role, or a parameter is none of the possible ones.
        """
        return Ratings.from_events(self, duplicates, scale=scale, context=context)


def read_events(
    source: Any,  # noqa: ANN401
    *,
    user: str | None,
    item: str,
    time: str | None = None,
    session: str | None = None,
    event_type: str | None = None,
    rating: str | None = None,
    anonymous: Anonymous = "error",
    time_unit: TimeUnit | None = None,
    time_format: str | None = None,
    implausible_times: ImplausibleTimes = "error",
    null_values: NullValues = None,
    separator: str | None = None,
    encoding: str = "utf8",
    format: Format | None = None,
) -> Events:
    """Read an event log, give its columns their roles and check them in one streaming pass.

    Files are read lazily: the log need not fit in memory. They must stay as they are while it is used.

    Parameters
    ----------
    source
        A path, a glob, a folder, a list of paths; a stream (``"-"`` is standard input); a polars or pandas frame, or
        any object with ``__arrow_c_stream__``. Files are Parquet, CSV or TSV (with a header; also .gz), JSON lines
        (also .gz), Arrow IPC/Feather; several are put together by the names of their columns. A server's store of
        events (``PATH.db``, ``sqlite:///PATH``, ``postgresql://...``; its columns are ``user_id``, ``item_id``,
        ``time``, ``event_type``, ``weight`` and ``rating``) may come alone or last in a list, after the log that it
        goes on from: its events then take the roles of the log's columns.
    user : str or None
        Column of user ids; None takes every session for a user of its own.
    item : str
        Column of item ids. Ids are integer, text, categorical, enum or binary; whole floats are read as Int64. Ids in
        CSV are integers where all are written as such; ``007`` stays text. Empty text is missing.
    time : str, optional
        Column of times: datetime, date, ISO 8601 text, or numbers counted from 1970. They become
        Datetime("us") in UTC.
    session, event_type, rating : str, optional
        Columns for the other roles.
    anonymous : {"error", "drop", "session"}
        What becomes of events without a user: an error; left out, with a ``CofactorWarning`` that counts
        them; or ``"session"``: their user is ``s_<session>`` and every known user ``u_<user>``.
    time_unit : {"s", "ms", "us", "ns"}, optional
        What numeric times count; inferred from their size unless given, and told in ``events.notes``.
    time_format : str, optional
        strptime format of times, also of whole numbers: ``"%Y%m%d"`` for 20230101.
    implausible_times : {"error", "allow"}
        What to do with times before 1990 or after tomorrow.
    null_values : str, list of str or {column: str}, optional
        Texts that stand for a missing value.
    separator, encoding : str
        Of CSV; the separator is told by the header unless given. Encodings other than UTF-8 cost a temporary copy.
    format : {"parquet", "csv", "tsv", "jsonl", "arrow"}, optional
        Unless the names of the files tell.

    Raises
    ------
    DataError
        The log cannot be read as it is meant: the message names the file, the column, the first rows and what to do.
    ParameterError
        A parameter is none of its choices, or the source is of no known kind.
    """
    roles = {"user": user, "item": item, "time": time, "session": session, "event_type": event_type, "rating": rating}
    roles["user"] = _owner(roles)
    options = TextOptions(separator, encoding, null_values)
    times = TimeOptions(time_unit, time_format, implausible_times)
    store, rest = divided(source)
    if store is not None and rest is None:
        rest, store = open_stored(store), None
    opened = open_source(rest, format, roles=_given(roles), texts=_as_text(roles, times), options=options)
    events = _checked(opened, roles, times, "error" if user is None else anonymous)
    return events if store is None else _with_stored(events, store)


def _with_stored(log: Events, store: str) -> Events:
    """A log, and after it the events of a store in its roles."""
    if log.session is not None:
        raise ParameterError(f"session={log.session!r}: the events of a server's store have no sessions; leave it out")
    columns = {"user": "user_id", "item": "item_id", "time": "time", "event_type": "event_type", "rating": "rating"}
    asked: dict[str, Any] = {role: columns[role] for role, column in log.roles().items() if column is not None}
    more = read_events(store, **asked)
    names = {columns[role]: column for role, column in log.roles().items() if column is not None}
    for role in ("user", "item"):
        there, new = (events.frame.collect_schema()[getattr(events, role)] for events in (log, more))
        if there.is_integer() != new.is_integer():
            raise DataError(f"column {getattr(log, role)!r} holds ids of type {there}, those in {store} are {new}")
    frame = pl.concat([log.frame, more.frame.rename(names)], how="diagonal_relaxed")
    stored = None if more.source is None else more.source.stored
    source = None if log.source is None else replace(log.source, stored=stored)
    note = f"{more.n_events:,} events of the store follow those of the log"
    return replace(log, frame=frame, notes=(*log.notes, note), source=source, bounds={})


def _given(roles: dict[str, Any]) -> list[str]:
    return [column for column in roles.values() if column is not None]


def _as_text(roles: dict[str, Any], times: TimeOptions) -> list[str]:
    """Columns that are read as a file writes them: ids, and times of a format, which may begin with a zero."""
    return [roles[role] for role in ("user", "item", "session", *(["time"] if times.format else []))]


def _checked(opened: Source, roles: dict[str, Any], times: TimeOptions, anonymous: Anonymous) -> Events:
    """The events of a source, after one pass over it."""
    try:
        require_columns(opened.frame.collect_schema().names(), roles)
        with opened.rows_checked() as check:
            ids = {role: roles[role] for role in ("user", "item", "time", "session")}
            prepared = prepare(opened.frame, **ids, anonymous=anonymous, times=times, source=opened)
            of_lines = check(prepared.n_rows)
    except READ_ERRORS as error:
        raise opened.explain(error, _given(roles)) from error
    if prepared.dropped is not None:
        warn(prepared.dropped)
    notes = (*opened.notes, *of_lines, *prepared.notes)
    for note in notes:
        _log.info(note)
    notes = (*notes, *([prepared.dropped] if prepared.dropped else []))
    events = Events(prepared.frame, **roles, notes=notes, source=opened, bounds=prepared.bounds)
    if prepared.facts is not None:
        events.__dict__["facts"] = prepared.facts  # the checks found them already
    return events


def _owner(roles: dict[str, Any]) -> str:
    """The column that says whose an event is, after a look at all of them."""
    for role, column in roles.items():
        if not isinstance(column, str) and (column is not None or role == "item"):
            raise ParameterError(f"{role} must be the name of a column, got {shown(column)}")
    owner, item = roles["user"] if roles["user"] is not None else roles["session"], roles["item"]
    if owner is None:
        raise ParameterError("user=None takes the session for the user, but session= is not given")
    if owner == item:
        raise ParameterError(f"user and item are the same column, {item!r}")
    if roles["time"] is not None and roles["time"] in (owner, item, roles["session"]):
        raise ParameterError(f"time={roles['time']!r}: the column has ids already; name the column of the times")
    return str(owner)
