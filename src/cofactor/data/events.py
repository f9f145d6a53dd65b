"""Event logs: which column plays which role, checks, and the way to interactions."""

from __future__ import annotations

import logging
import warnings
from dataclasses import KW_ONLY, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import polars as pl

from cofactor.data.columns import Anonymous, Facts, TimeUnit, collect_facts, prepare, require_columns
from cofactor.data.interactions import Interactions, Weight, aggregate, summed
from cofactor.data.sources import Format, Source, first_line, open_source
from cofactor.data.weights import EVENT_TYPE, NEWEST, TIME
from cofactor.errors import CofactorWarning, DataError, ParameterError

if TYPE_CHECKING:
    from cofactor.data.ids import IdMap
    from cofactor.data.sessions import Sessions
    from cofactor.kernels.csr import CSR

__all__ = ["Events", "read_events"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False, repr=False)
class Events:
    """A lazy event log whose columns have roles; made by ``read_events``.

    Parameters
    ----------
    frame : pl.LazyFrame
        One row per event. Columns keep the names they came with; those without a role stay available to
        filters and weight expressions. Ids are not null, times are Datetime("us") in UTC.
    user, item : str
        Columns of ids.
    time, session, event_type, rating : str, optional
        Columns that play the other roles.
    notes : tuple of str
        What reading inferred or left out, for people.
    source : Source, optional
        Where the events were read from, to name the file in errors.
    """

    frame: pl.LazyFrame
    _: KW_ONLY
    user: str
    item: str
    time: str | None = None
    session: str | None = None
    event_type: str | None = None
    rating: str | None = None
    notes: tuple[str, ...] = ()
    source: Source | None = None

    @cached_property
    def facts(self) -> Facts:
        """Number of events and the ranges of integer ids and of times; found in one pass, then kept.

        What is made of the events relies on it: the files must not change after reading.
        """
        ids = dict.fromkeys(c for c in (self.user, self.item, self.session) if c is not None)
        return collect_facts(self.frame, ids, self.time)

    @property
    def n_events(self) -> int:
        """Number of events; counted once, then kept."""
        return self.facts.n_events

    def filter(self, *predicates: pl.Expr) -> Events:
        """Keep the events that meet every condition on the log's columns."""
        return self.with_frame(self.frame.filter(*predicates))

    def with_frame(self, frame: pl.LazyFrame | pl.DataFrame) -> Events:
        """Put other events into the same roles, for example after joining columns to ``events.frame``.

        Raises
        ------
        DataError
            A column that has a role is missing.
        """
        lazy = frame.lazy()
        require_columns(lazy.collect_schema().names(), self._roles())
        return replace(self, frame=lazy)

    def collect(self) -> pl.DataFrame:
        """Bring all events into memory."""
        return self.frame.collect(engine="streaming")

    def pairs(self) -> pl.DataFrame:
        """List the distinct pairs of ``user_id`` and ``item_id``, sorted."""
        pairs = self.frame.select(pl.col(self.user).alias("user_id"), pl.col(self.item).alias("item_id"))
        return pairs.unique().sort("user_id", "item_id").collect(engine="streaming")

    def sessions(self) -> Sessions:
        """Bring the events into memory as sessions, over the rows of their own items.

        A session is what the ``session`` role says, or else the user. For sessions over the items of a model's
        interactions see ``Sessions.of``.

        Raises
        ------
        DataError
            There are no events, or more than 256 types of them.
        """
        from cofactor.data.sessions import Sessions

        return Sessions.from_events(self)

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
            There are no events, or a weight is null, NaN, infinite, zero or negative.
        ParameterError
            The weight is no numeric expression over the columns, or needs a role that the events lack.
        """
        x = Interactions(*self.aggregated(weight), events=self)
        x, report = x.without_rare(min_user_count, min_item_count, k_core=k_core)
        if report is not None:
            warnings.warn(report, CofactorWarning, stacklevel=2)
        return x

    def aggregated(self, weight: Weight = None) -> tuple[IdMap, IdMap, CSR]:
        """Users, items and one number per (user, item), of any sign: what ``interactions`` are made of.

        Raises
        ------
        DataError
            There are no events.
        ParameterError
            See ``interactions``.
        """
        frame, expr = self._resolved(weight)
        try:
            return aggregate(frame, self.user, self.item, expr, self.facts.bounds)
        except (pl.exceptions.PolarsError, OSError) as error:
            raise self._explained(error, expr.meta.root_names()) from error

    def _resolved(self, weight: Weight) -> tuple[pl.LazyFrame, pl.Expr]:
        """Add the columns that weights refer to by role, and bring the weight to one number per pair."""
        expr = pl.len() if weight is None else pl.col(weight) if isinstance(weight, str) else weight
        if not isinstance(expr, pl.Expr):
            expr = pl.lit(expr)
        roots = expr.meta.root_names()
        added = []
        for name, role, column in ((EVENT_TYPE, "event_type", self.event_type), (TIME, "time", self.time)):
            if name in roots and column is None:
                raise ParameterError(f"this weight needs {role}=; give it to read_events or to the weight itself")
            if name in roots:
                added.append(pl.col(str(column)).alias(name))
        if NEWEST in roots:
            if self.time is None:
                raise ParameterError("this weight needs reference=, or time= in read_events for the newest event")
            added.append(pl.lit(self.facts.newest, dtype=pl.Datetime("us")).alias(NEWEST))
        frame = self.frame.with_columns(added)
        try:
            groups = frame.group_by(self.user, self.item).agg(expr.alias("cofactor:weight"))
            dtype: Any = groups.collect_schema()["cofactor:weight"]
        except pl.exceptions.PolarsError as error:
            raise ParameterError(f"weight={weight}: {first_line(error)}") from error
        per_event = dtype == pl.List
        dtype = dtype.inner if per_event else dtype
        if not (dtype.is_numeric() or dtype == pl.Boolean):
            raise ParameterError(f"weight={weight} gives values of type {dtype}; it must give numbers")
        return frame, summed(expr) if per_event else expr

    def _explained(self, error: Exception, columns: list[str]) -> DataError:
        """Turn an error of the aggregation into one that says where to look."""
        if "to `enum`" in str(error):
            return DataError(
                f"an event type has no weight ({first_line(error)}); add it to weights.by_type, or filter such "
                "events out first"
            )
        if self.source is not None:
            return self.source.explain(error, [self.user, self.item, *columns])
        return DataError(f"the events could not be aggregated: {first_line(error)}")

    def _roles(self) -> dict[str, str | None]:
        roles = ("user", "item", "time", "session", "event_type", "rating")
        return {role: getattr(self, role) for role in roles}

    def __repr__(self) -> str:
        facts: Facts | None = self.__dict__.get("facts")  # showing events never costs a pass over them
        head = "Events" if facts is None else f"Events: {facts.n_events:,}"
        if facts is not None and facts.oldest is not None:
            head += f", {facts.oldest} to {facts.newest} UTC"
        schema = self.frame.collect_schema()
        lines = [f"  {role}: {c} ({schema[c]})" for role, c in self._roles().items() if c is not None]
        if others := [c for c in schema if c not in self._roles().values()]:
            lines.append(f"  others: {', '.join(others)}")
        return "\n".join([head, *lines, *(f"  note: {note}" for note in self.notes)])


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
    format: Format | None = None,
) -> Events:
    """Read an event log, give its columns their roles and check them in one streaming pass.

    Files are read lazily: the log need not fit in memory.

    Parameters
    ----------
    source
        A path, a glob, a folder, a list of paths; a polars DataFrame or LazyFrame, a pandas DataFrame, or any
        object with ``__arrow_c_stream__``. Files are Parquet, CSV or TSV (with a header; also .gz), JSON
        lines (also .gz), Arrow IPC/Feather.
    user : str or None
        Column of user ids; None takes every session for a user of its own.
    item : str
        Column of item ids. Ids are of integer, text, categorical, enum or binary type; whole-number floats
        are read as Int64.
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
    format : {"parquet", "csv", "tsv", "jsonl", "arrow"}, optional
        Unless the names of the files tell.

    Raises
    ------
    DataError
        A file is missing or damaged (named, with the line where that is known), a column is missing, the
        log is empty, an id or time is null or NaN, a float id is no whole number.
    ParameterError
        A parameter is none of its choices, or the source is of no known kind.
    """
    owner = user if user is not None else session
    if owner is None:
        raise ParameterError("user=None takes the session for the user, but session= is not given")
    if owner == item:
        raise ParameterError(f"user and item are the same column, {item!r}")
    opened = open_source(source, format)
    roles = {"user": user, "item": item, "time": time, "session": session}
    roles |= {"event_type": event_type, "rating": rating}
    try:
        require_columns(opened.frame.collect_schema().names(), roles)
        prepared = prepare(
            opened.frame,
            user=owner,
            item=item,
            time=time,
            session=session,
            anonymous="error" if user is None else anonymous,
            time_unit=time_unit,
        )
    except (pl.exceptions.PolarsError, OSError) as error:
        raise opened.explain(error, [c for c in roles.values() if c is not None]) from error
    if prepared.dropped is not None:
        warnings.warn(prepared.dropped, CofactorWarning, stacklevel=2)
    for note in prepared.notes:
        _log.info(note)
    events = Events(
        prepared.frame,
        user=owner,
        item=item,
        time=time,
        session=session,
        event_type=event_type,
        rating=rating,
        notes=(*prepared.notes, *([prepared.dropped] if prepared.dropped else [])),
        source=opened,
    )
    if prepared.facts is not None:
        events.__dict__["facts"] = prepared.facts  # the checks found them already
    return events
