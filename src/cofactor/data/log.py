"""An event log: which column plays which role, what one pass told of it, and its weights by (user, item)."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import polars as pl

from cofactor.data.aggregate import Weight, aggregate, as_expression, summed
from cofactor.data.columns import Bounds, Facts, collect_facts, require_columns
from cofactor.data.sources import READ_ERRORS, Source, first_line
from cofactor.data.weights import EVENT_TYPE, NEWEST, TIME
from cofactor.errors import DataError, ParameterError
from cofactor.system.forks import require_living_threads
from cofactor.system.views import Row, View, Viewed, ViewTable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from cofactor.data.ids import IdMap
    from cofactor.kernels.csr import CSR

__all__ = ["Log"]


class _Frame:
    """The ``frame`` of a log; whoever takes it for a pass learns first whether the files are still what they were."""

    def __get__(self, log: Log | None, owner: type | None = None) -> pl.LazyFrame:
        if log is None:
            raise AttributeError("frame")  # so that the field has no default
        if log.source is not None:
            log.source.check_unchanged()
        frame: pl.LazyFrame = log.__dict__["frame"]
        return frame

    def __set__(self, log: Log, frame: pl.LazyFrame) -> None:
        log.__dict__["frame"] = frame


@dataclass(frozen=True, eq=False, repr=False)
class Log(Viewed):
    """A lazy event log whose columns have roles: all that is known of it before anything is made of it.

    Parameters
    ----------
    frame : pl.LazyFrame
        One row per event. Columns keep the names they came with; those without a role stay available to
        filters and weight expressions. Ids are not null, times are Datetime("us") in UTC. Taking it raises
        ``DataError`` if a file of the log has changed since it was read.
    user, item : str
        Columns of ids.
    time, session, event_type, rating : str, optional
        Columns that play the other roles.
    notes : tuple of str
        What reading inferred or left out, for people.
    source : Source, optional
        Where the events were read from, to name the file in errors.
    bounds : mapping
        What integer ids lie between, as far as reading told; perhaps wider than they are.
    """

    frame: _Frame = _Frame()
    _: KW_ONLY
    user: str
    item: str
    time: str | None = None
    session: str | None = None
    event_type: str | None = None
    rating: str | None = None
    notes: tuple[str, ...] = ()
    source: Source | None = None
    bounds: Mapping[str, Bounds] = field(default_factory=dict)

    @cached_property
    def facts(self) -> Facts:
        """Number of events and the range of times; found in one pass where reading did not tell, then kept."""
        try:
            return collect_facts(self.frame, self.time)
        except READ_ERRORS as error:
            raise self.explained(error, []) from error

    @property
    def n_events(self) -> int:
        """Number of events; counted once, then kept."""
        return self.facts.n_events

    def filter(self, *predicates: pl.Expr) -> Self:
        """Keep the events that meet every condition on the log's columns."""
        return replace(self, frame=self.frame.filter(*predicates))

    def with_frame(self, frame: pl.LazyFrame | pl.DataFrame) -> Self:
        """Put other events into the same roles, for example after joining columns to ``events.frame``.

        Raises
        ------
        DataError
            A column that has a role is missing.
        """
        lazy = frame.lazy()
        require_columns(lazy.collect_schema().names(), self.roles())
        return replace(self, frame=lazy, bounds={})

    def collect(self) -> pl.DataFrame:
        """Bring all events into memory."""
        require_living_threads()
        return self._read(self.frame, list(self.frame.collect_schema()))

    def pairs(self) -> pl.DataFrame:
        """List the distinct pairs of ``user_id`` and ``item_id``, sorted."""
        require_living_threads()
        pairs = self.frame.select(pl.col(self.user).alias("user_id"), pl.col(self.item).alias("item_id"))
        return self._read(pairs.unique().sort("user_id", "item_id"), [])

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
            return aggregate(frame, self.user, self.item, expr, self.bounds)
        except READ_ERRORS as error:
            raise self.explained(error, expr.meta.root_names()) from error

    def _read(self, query: pl.LazyFrame, columns: list[str]) -> pl.DataFrame:
        try:
            return query.collect(engine="streaming")
        except READ_ERRORS as error:
            raise self.explained(error, columns) from error

    def _resolved(self, weight: Weight) -> tuple[pl.LazyFrame, pl.Expr]:
        """Add the columns that weights refer to by role, and bring the weight to one number per pair."""
        expr = as_expression(weight)
        roots = expr.meta.root_names()
        added = []
        for name, role, told, column in (
            (EVENT_TYPE, "event_type", "event types", self.event_type), (TIME, "time", "times", self.time),
        ):  # fmt: skip
            if name in roots and column is None:
                raise ParameterError(
                    f"this weight needs the column of {told}; name it: read_events(..., {role}=...), or in the weight"
                )
            if name in roots:
                added.append(pl.col(str(column)).alias(name))
        if NEWEST in roots:
            if self.time is None:
                raise ParameterError(
                    "this weight needs reference=, or the time of the newest event; name the column of times: "
                    "read_events(..., time=...)"
                )
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

    def explained(self, error: BaseException, columns: list[str]) -> DataError:
        """Turn an error of the aggregation into one that says where to look."""
        if "to `enum`" in str(error):
            types = first_line(error).partition(" values: ")[2]
            return DataError(
                f"there are events of a type without a weight{': ' if types else ''}{types}; add it to the weights, "
                "or filter such events out first"
            )
        if self.source is not None:
            return self.source.explain(error, [self.user, self.item, *columns])
        return DataError(f"the events could not be aggregated: {first_line(error)}")

    def roles(self) -> dict[str, str | None]:
        """The column that plays each role, None where there is none."""
        roles = ("user", "item", "time", "session", "event_type", "rating")
        return {role: getattr(self, role) for role in roles}

    def __repr__(self) -> str:
        facts: Facts | None = self.__dict__.get("facts")  # showing events never costs a pass over them
        head = type(self).__name__ if facts is None else f"{type(self).__name__}: {facts.n_events:,}"
        if facts is not None and facts.oldest is not None:
            head += f", {facts.oldest} to {facts.newest} UTC"
        schema = self._known_schema()
        roles = {role: c for role, c in self.roles().items() if c is not None}
        lines = [f"  {role}: {c}" + (f" ({schema[c]})" if c in schema else "") for role, c in roles.items()]
        if others := [c for c in schema if c not in roles.values()]:
            lines.append(f"  others: {', '.join(others)}")
        return "\n".join([head, *lines, *(f"  note: {note}" for note in self.notes)])

    def _view(self) -> View:
        facts: Facts | None = self.__dict__.get("facts")
        known = {} if facts is None else {"events": f"{facts.n_events:,}"}
        if facts is not None and facts.oldest is not None:
            known["times"] = f"{facts.oldest} to {facts.newest} UTC"
        schema = self._known_schema()
        roles = {role: column for role, column in self.roles().items() if column is not None}
        rows = [Row((role, column, _short(schema.get(column))), strong=True) for role, column in roles.items()]
        rows += [Row(("", column, _short(dtype))) for column, dtype in schema.items() if column not in roles.values()]
        columns = ViewTable("columns", ("role", "column", "type"), rows)
        lead = "not counted yet" if facts is None else ""
        return View(type(self).__name__, lead, known, [columns], self.notes)

    def _known_schema(self) -> dict[str, pl.DataType]:
        frame: pl.LazyFrame = self.__dict__["frame"]
        try:
            return dict(frame.collect_schema())
        except READ_ERRORS:  # showing a log whose file is gone is no error
            return {}


def _short(dtype: pl.DataType | None) -> str:
    """The type of a column without its parameters, such as the categories of an enum."""
    return "" if dtype is None else str(dtype).partition("(")[0]
