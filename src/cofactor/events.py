"""Event logs: which column plays which role, checks, and the way to interactions."""

from __future__ import annotations

import logging
import warnings
from dataclasses import KW_ONLY, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import polars as pl

from cofactor.columns import Anonymous, Facts, TimeUnit, collect_facts, prepare, require_columns
from cofactor.errors import CofactorWarning, DataError, ParameterError
from cofactor.interactions import Interactions, Weight, aggregate
from cofactor.sources import Format, open_source
from cofactor.weights import EVENT_TYPE, NEWEST, TIME

__all__ = ["Events", "read_events"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False, repr=False)
class Events:
    """A lazy event log whose columns have roles; made by ``read_events``.

    Parameters
    ----------
    frame : pl.LazyFrame
        One row per event. Columns keep the names they came with; those without a role stay available to filters
        and weight expressions. Ids are not null, times are Datetime("us") in UTC.
    user, item : str
        Columns of ids.
    time, session, event_type, rating : str, optional
        Columns that play the other roles.
    notes : tuple of str
        What reading inferred or left out, for people.
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

    @cached_property
    def _facts(self) -> Facts:
        return collect_facts(self.frame, (self.user, self.item), self.time)

    @property
    def n_events(self) -> int:
        """Number of events; counted once, then kept."""
        return self._facts.n_events

    def filter(self, *predicates: pl.Expr) -> Events:
        """The events that meet every condition on the log's columns."""
        return self.with_frame(self.frame.filter(*predicates))

    def with_frame(self, frame: pl.LazyFrame | pl.DataFrame) -> Events:
        """Other events in the same roles, for example after joining columns to ``events.frame``.

        Raises
        ------
        DataError
            A column that has a role is missing.
        """
        lazy = frame.lazy()
        require_columns(lazy.collect_schema().names(), self._roles())
        return replace(self, frame=lazy)

    def collect(self) -> pl.DataFrame:
        """All events in memory."""
        return self.frame.collect(engine="streaming")

    def pairs(self) -> pl.DataFrame:
        """The distinct pairs of ``user_id`` and ``item_id``, sorted."""
        pairs = self.frame.select(pl.col(self.user).alias("user_id"), pl.col(self.item).alias("item_id"))
        return pairs.unique().sort("user_id", "item_id").collect(engine="streaming")

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
            A polars aggregation over the events of a pair, such as ``1 + pl.len() + 10 * pl.col("cart").sum()``;
            any column may take part. An expression (or the name of a column) with one value per event is summed.
            A number is the weight of every pair. Without it, the number of events. ``cofactor.weights`` has
            ready expressions. Weights are stored as float32.
        min_user_count, min_item_count, k_core
            See ``Interactions.filter``.

        Raises
        ------
        DataError
            There are no events, or a weight is null, NaN, infinite, zero or negative.
        ParameterError
            The weight is no numeric expression over the columns, or needs a role that the events lack.
        """
        frame, expr = self._resolved(weight)
        try:
            x = Interactions(*aggregate(frame, self.user, self.item, expr, self._facts.bounds))
        except (pl.exceptions.PolarsError, OSError) as error:
            raise DataError(f"the events could not be aggregated: {error}") from error
        return x.filter(min_user_count, min_item_count, k_core=k_core)

    def _resolved(self, weight: Weight) -> tuple[pl.LazyFrame, pl.Expr]:
        """The events with the columns that weights refer to by role, and one number per pair."""
        expr = pl.len() if weight is None else pl.col(weight) if isinstance(weight, str) else weight
        if not isinstance(expr, pl.Expr):
            expr = pl.lit(expr)
        roots, added = expr.meta.root_names(), []
        for name, role in ((EVENT_TYPE, "event_type"), (TIME, "time")):
            if name in roots:
                if (column := getattr(self, role)) is None:
                    raise ParameterError(
                        f"this weight needs the {role}; pass {role}= to read_events, or to the weight"
                    )
                added.append(pl.col(column).alias(name))
        if NEWEST in roots:
            added.append(pl.lit(self._facts.newest, dtype=pl.Datetime("us")).alias(NEWEST))
        frame = self.frame.with_columns(added)
        try:
            dtype = frame.group_by(self.user, self.item).agg(expr.alias(NEWEST)).collect_schema()[NEWEST]
        except pl.exceptions.PolarsError as error:
            raise ParameterError(f"weight={weight}: {str(error).splitlines()[0]}") from error
        if isinstance(dtype, pl.List):
            expr, dtype = expr.sum(), dtype.inner
        if not (dtype.is_numeric() or dtype == pl.Boolean):
            raise ParameterError(f"weight={weight} gives {dtype} values; it must give numbers")
        return frame, expr

    def _roles(self) -> dict[str, str | None]:
        roles = ("user", "item", "time", "session", "event_type", "rating")
        return {role: getattr(self, role) for role in roles}

    def __repr__(self) -> str:
        facts: Facts | None = self.__dict__.get("_facts")  # showing events never costs a pass over them
        lines = ["Events" if facts is None else f"Events: {facts.n_events:,}"]
        if facts is not None and facts.oldest is not None:
            lines[0] += f", {facts.oldest} to {facts.newest} UTC"
        schema = self.frame.collect_schema()
        lines += [f"  {role}: {c} ({schema[c]})" for role, c in self._roles().items() if c is not None]
        others = [c for c in schema if c not in self._roles().values()]
        lines += [f"  others: {', '.join(others)}"] if others else []
        return "\n".join(lines + [f"  note: {note}" for note in self.notes])


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
    format: Format | None = None,  # noqa: A002
) -> Events:
    """Read an event log, give its columns their roles and check them in one streaming pass.

    Files are read lazily: the log need not fit in memory.

    Parameters
    ----------
    source
        A path, a glob, a folder, a list of paths; a polars DataFrame or LazyFrame, a pandas DataFrame, or any
        object with ``__arrow_c_stream__``. Files are Parquet, CSV or TSV (with a header; also .gz), JSON lines
        (also .gz), Arrow IPC/Feather.
    user : str or None
        Column of user ids; None takes every session for a user of its own.
    item : str
        Column of item ids. Ids are of integer, text, categorical, enum or binary type; whole-number floats are
        read as Int64.
    time : str, optional
        Column of times: datetime, date, ISO 8601 text, or numbers counted from 1970. They become Datetime("us")
        in UTC.
    session, event_type, rating : str, optional
        Columns for the other roles.
    anonymous : {"error", "drop", "session"}
        What becomes of events without a user: an error; left out, with a ``CofactorWarning`` that counts them;
        or ``"session"``: their user is ``s_<session>`` and every known user ``u_<user>``.
    time_unit : {"s", "ms", "us", "ns"}, optional
        What numeric times count; inferred from their size unless given, and told in ``events.notes``.
    format : {"parquet", "csv", "tsv", "jsonl", "arrow"}, optional
        Unless the names of the files tell.

    Raises
    ------
    DataError
        A file is missing or damaged (named, with the line where that is known), a column is missing, the log is
        empty, an id or time is null or NaN, a float id is no whole number.
    ParameterError
        A parameter is none of its choices, or the source is of no known kind.
    """
    if user is None and session is None:
        raise ParameterError("user=None takes the session for the user, but session= is not given")
    opened = open_source(source, format)
    roles = {
        "user": user,
        "item": item,
        "time": time,
        "session": session,
        "event_type": event_type,
        "rating": rating,
    }
    try:
        require_columns(opened.frame.collect_schema().names(), roles)
        prepared = prepare(
            opened.frame,
            user=user or session,
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
    roles["user"] = user or session
    events = Events(
        prepared.frame, **roles, notes=prepared.notes + ((prepared.dropped,) if prepared.dropped else ())
    )
    events.__dict__["_facts"] = prepared.facts
    return events
