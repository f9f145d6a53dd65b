"""Checks of an event log's columns, in one streaming pass, and their final form."""

from __future__ import annotations

from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import polars as pl

from cofactor.data.ids import is_id_dtype
from cofactor.errors import DataError, ParameterError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

__all__ = [
    "Anonymous",
    "Bounds",
    "Facts",
    "Prepared",
    "TimeUnit",
    "collect_facts",
    "prepare",
    "require_columns",
]

Anonymous: TypeAlias = Literal["error", "drop", "session"]
TimeUnit: TypeAlias = Literal["s", "ms", "us", "ns"]
Bounds: TypeAlias = tuple[int, int]

_MICROSECONDS: dict[TimeUnit, float] = {"s": 1e6, "ms": 1e3, "us": 1.0, "ns": 1e-3}
# Epochs below 1e11 are read as seconds (to the year 5138), below 1e14 as milliseconds (from 1973), and so on.
_LIMITS: tuple[tuple[TimeUnit, float], ...] = (("s", 1e11), ("ms", 1e14), ("us", 1e17), ("ns", float("inf")))
_EXACT_FLOAT = 2**53
_LAST_MICROSECOND = 253_402_300_799_999_999  # of the year 9999


@dataclass(frozen=True)
class Facts:
    """What one pass over prepared events tells.

    Attributes
    ----------
    n_events : int
    oldest, newest : datetime or None
        First and last value of the time column.
    """

    n_events: int
    oldest: datetime | None = None
    newest: datetime | None = None


@dataclass(frozen=True)
class Prepared:
    """A checked log.

    Attributes
    ----------
    frame : pl.LazyFrame
        Ids and times in their final form.
    facts : Facts or None
        None if events were dropped: what was found does not hold for the others.
    bounds : mapping
        What integer id columns lie between, dropped events included.
    notes : tuple of str
        What was inferred, for people.
    dropped : str or None
        What was left out and how much of it.
    """

    frame: pl.LazyFrame
    facts: Facts | None
    bounds: dict[str, Bounds]
    notes: tuple[str, ...] = ()
    dropped: str | None = None


def require_columns(columns: Iterable[str], roles: Mapping[str, str | None]) -> None:
    """Raise ``DataError`` unless every column that has a role exists."""
    columns = list(columns)
    for role, column in roles.items():
        if column is not None and column not in columns:
            close = get_close_matches(str(column), columns, n=1, cutoff=0.6)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise DataError(f"{role}={column!r}: there is no such column; the columns are {columns}.{hint}")


def collect_facts(frame: pl.LazyFrame, time: str | None) -> Facts:
    """One streaming pass over prepared events."""
    exprs = [pl.len().alias("n")]
    if time is not None:
        column = _TimeColumn(time, frame.collect_schema()[time], None).parsed
        exprs += [column.min().alias("oldest"), column.max().alias("newest")]
    row = frame.select(exprs).collect(engine="streaming").row(0, named=True)
    return Facts(row["n"], row.get("oldest"), row.get("newest"))


def prepare(
    frame: pl.LazyFrame,
    *,
    user: str,
    item: str,
    time: str | None = None,
    session: str | None = None,
    anonymous: Anonymous = "error",
    time_unit: TimeUnit | None = None,
) -> Prepared:
    """Check the columns in one streaming pass and bring ids and times into their final form.

    Raises
    ------
    DataError
        A column is missing or of a wrong type, the log is empty, an id or a time is missing, a float id is no
        whole number. The message names the column, the count and the first rows.
    ParameterError
        ``anonymous`` or ``time_unit`` is none of its choices, or lacks its column.
    """
    _check_choice("anonymous", anonymous, get_args(Anonymous))
    _check_choice("time_unit", time_unit, (None, *get_args(TimeUnit)))
    if anonymous == "session" and session is None:
        raise ParameterError("anonymous='session' needs session=, the column of session ids")
    schema = frame.collect_schema()
    ids = {c: _IdColumn(c, schema[c]) for c in (user, item, session) if c is not None}
    clock = None if time is None else _TimeColumn(time, schema[time], time_unit)
    exprs = [pl.len().alias("n"), *(e for c in (*ids.values(), clock) if c is not None for e in c.facts())]
    if session is not None:
        exprs.append((ids[user].missing & ids[session].missing).sum().alias("nobody"))
    row = frame.select(exprs).collect(engine="streaming").row(0, named=True)
    if not row["n"]:
        raise DataError("the log is empty: it has columns, but no events")
    for name in dict.fromkeys([user, item] if anonymous == "error" else [item]):
        _refuse_missing(frame, ids[name], row, hint=_ANONYMOUS_HINT if name == user else _MISSING_HINT)
    for column in ids.values():
        _refuse_fractions(frame, column, row)

    notes = [f"{c.name}: whole-number floats read as integers" for c in ids.values() if c.dtype.is_float()]
    final = {name: column.value for name, column in ids.items()}
    bounds = {name: b for name, column in ids.items() if (b := column.bounds(row))}
    if anonymous == "session" and session is not None:
        final[user], note = _unified(frame, ids[user], ids[session], row)
        notes.append(note)
        bounds.pop(user, None)
    facts = Facts(row["n"])
    if clock is not None:
        _refuse_missing(frame, clock, row, hint=_MISSING_HINT, what=clock.fault)
        final[clock.name], facts, time_notes = clock.finish(row, facts)
        notes += time_notes
    dropped = None
    if anonymous == "drop" and row[f"missing:{user}"]:
        dropped = _dropped(ids[user], row)
        frame = frame.filter(~ids[user].missing)
    frame = frame.with_columns(e.alias(name) for name, e in final.items())
    return Prepared(frame, None if dropped else facts, bounds, tuple(notes), dropped)


_MISSING_HINT = "Leave such events out first, e.g. pl.scan_parquet(...).filter(pl.col({column!r}).is_not_null())"
_ANONYMOUS_HINT = (
    "Choose what becomes of them: anonymous='drop' leaves them out, anonymous='session' takes the session for the user"
)


@dataclass(frozen=True)
class _IdColumn:
    name: str
    dtype: pl.DataType

    def __post_init__(self) -> None:
        if not (is_id_dtype(self.dtype) or self.dtype.is_float() or self.dtype == pl.Null):
            raise DataError(
                f"column {self.name!r} has type {self.dtype}; ids are integer, text, categorical, enum, binary "
                "or whole-number float. Cast the column first"
            )

    @property
    def missing(self) -> pl.Expr:
        column = pl.col(self.name)
        return column.is_null() | column.is_nan() if self.dtype.is_float() else column.is_null()

    @property
    def fractional(self) -> pl.Expr:
        """Floats that stand for no integer, or for one that they cannot hold exactly; null where missing."""
        column = pl.col(self.name).fill_nan(None)
        return (column != column.round()) | (column.abs() > _EXACT_FLOAT)

    @property
    def value(self) -> pl.Expr:
        column = pl.col(self.name)
        return column.cast(pl.Int64, strict=False) if self.dtype.is_float() else column

    @property
    def text(self) -> pl.Expr:
        if self.dtype == pl.Binary:
            return pl.col(self.name).bin.encode("hex")
        return self.value.cast(pl.String)

    def facts(self) -> list[pl.Expr]:
        exprs = [self.missing.sum().alias(f"missing:{self.name}")]
        if self.dtype.is_float():
            exprs.append(self.fractional.sum().alias(f"fractional:{self.name}"))
        if self.dtype.is_numeric():
            exprs.append(self.value.min().alias(f"low:{self.name}"))
            exprs.append(self.value.max().alias(f"high:{self.name}"))
        return exprs

    def bounds(self, row: Mapping[str, Any]) -> Bounds | None:
        low = row.get(f"low:{self.name}")
        return None if low is None else (low, row[f"high:{self.name}"])


@dataclass(frozen=True)
class _TimeColumn:
    name: str
    dtype: pl.DataType
    unit: TimeUnit | None

    def __post_init__(self) -> None:
        is_number = self.dtype.is_integer() or self.dtype.is_float()
        if not (is_number or self.dtype in (pl.Datetime, pl.Date, pl.String, pl.Null)):
            raise DataError(
                f"time={self.name!r} has type {self.dtype}; times are datetime, date, ISO 8601 text, or numbers "
                "that count s, ms, us or ns since 1970"
            )

    @property
    def parsed(self) -> pl.Expr:
        """The column as Datetime("us") in UTC, or as the number that it is."""
        column = pl.col(self.name)
        if self.dtype == pl.String:
            iso = pl.when(column.str.contains(r"^\d{4}-\d{2}-\d{2}")).then(column)
            column = iso.str.to_datetime(time_unit="us", time_zone="UTC", strict=False)
            return column.dt.replace_time_zone(None)
        if self.dtype.is_numeric():
            return column
        if isinstance(self.dtype, pl.Datetime) and self.dtype.time_zone is not None:
            column = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        return column.cast(pl.Datetime("us"))

    @property
    def missing(self) -> pl.Expr:
        return self.parsed.is_null() | ~self.parsed.is_finite() if self.dtype.is_float() else self.parsed.is_null()

    def facts(self) -> list[pl.Expr]:
        return [
            self.missing.sum().alias(f"missing:{self.name}"),
            self.parsed.min().alias(f"low:{self.name}"),
            self.parsed.max().alias(f"high:{self.name}"),
        ]

    @property
    def fault(self) -> str:
        if self.dtype == pl.String:
            return "null or not ISO 8601 (2024-05-31T12:00:00)"
        return "null, NaN or infinite" if self.dtype.is_float() else "null"

    def finish(self, row: Mapping[str, Any], facts: Facts) -> tuple[pl.Expr, Facts, list[str]]:
        """Give the final column, the facts with its range, and what to tell about it."""
        low, high = row[f"low:{self.name}"], row[f"high:{self.name}"]
        if not self.dtype.is_numeric():
            zone = getattr(self.dtype, "time_zone", None)
            notes = [] if zone in (None, "UTC") else [f"{self.name}: times converted from {zone} to UTC"]
            return self.parsed, replace(facts, oldest=low, newest=high), notes
        unit = self.unit or self._inferred(low, high)
        value = _from_epoch(self.parsed, self.dtype, unit)
        if max(abs(low), abs(high)) * _MICROSECONDS[unit] > _LAST_MICROSECOND:
            raise DataError(
                f"time={self.name!r}: {low} to {high}, counted in {unit} since 1970, is beyond the year 9999"
            )
        ends = pl.DataFrame({self.name: [low, high]}, schema={self.name: self.dtype}).select(value)
        oldest, newest = ends.to_series().to_list()
        how = "given" if self.unit else "inferred; time_unit= overrides it"
        note = f"{self.name}: read as {unit} since 1970 ({how}), {oldest} to {newest}"
        return value, replace(facts, oldest=oldest, newest=newest), [note]

    def _inferred(self, low: float, high: float) -> TimeUnit:
        """Take the unit that the size of both ends suggests."""
        newest, oldest = (next(unit for unit, limit in _LIMITS if abs(t) < limit) for t in (high, low))
        if newest != oldest:
            raise DataError(
                f"time={self.name!r}: the smallest value {low} looks like {oldest} since 1970, the largest {high} "
                f"like {newest}; pass time_unit= if they are of one unit, or repair the column"
            )
        return newest


def _from_epoch(column: pl.Expr, dtype: pl.DataType, unit: TimeUnit) -> pl.Expr:
    scale = _MICROSECONDS[unit]
    if dtype.is_float():
        micros = (column * scale).round().cast(pl.Int64)
    elif scale < 1:
        micros = column.cast(pl.Int64) // 1000
    else:
        micros = column.cast(pl.Int64) * int(scale)
    return micros.cast(pl.Datetime("us"))


def _unified(frame: pl.LazyFrame, user: _IdColumn, session: _IdColumn, row: Mapping[str, Any]) -> tuple[pl.Expr, str]:
    """Users as text: ``u_<user>`` where known, ``s_<session>`` elsewhere."""
    if row["nobody"]:
        rows = _first_rows(frame, user.missing & session.missing)
        raise DataError(
            f"{row['nobody']:,} of {row['n']:,} events have neither a user ({user.name!r}) nor a session "
            f"({session.name!r}); the first rows (from 0): {rows}. Leave them out first"
        )
    known = pl.format("u_{}", user.text)
    expr = pl.when(user.missing).then(pl.format("s_{}", session.text)).otherwise(known)
    n = row[f"missing:{user.name}"]
    return (
        expr,
        f"{user.name}: {n:,} of {row['n']:,} events have no user; their session stands in (s_<session>)",
    )


def _dropped(user: _IdColumn, row: Mapping[str, Any]) -> str:
    n_missing, n = row[f"missing:{user.name}"], row["n"]
    if n_missing == n:
        raise DataError(f"column {user.name!r}: all {n:,} values are null or NaN; no user would be left")
    return f"{user.name}: dropped {n_missing:,} of {n:,} events without a user"


def _refuse_missing(
    frame: pl.LazyFrame,
    column: _IdColumn | _TimeColumn,
    row: Mapping[str, Any],
    hint: str,
    what: str = "null or NaN",
) -> None:
    count, n = row[f"missing:{column.name}"], row["n"]
    if count == n:
        raise DataError(f"column {column.name!r}: all {n:,} values are {what}; is it the right column?")
    if count:
        raise DataError(
            f"column {column.name!r}: {count:,} of {n:,} values are {what}; the first rows (from 0): "
            f"{_first_rows(frame, column.missing)}. {hint.format(column=column.name)}"
        )


def _refuse_fractions(frame: pl.LazyFrame, column: _IdColumn, row: Mapping[str, Any]) -> None:
    if count := row.get(f"fractional:{column.name}"):
        raise DataError(
            f"column {column.name!r} holds float ids, and {count:,} of {row['n']:,} are no whole numbers below "
            f"2^53; the first rows (from 0): {_first_rows(frame, column.fractional)}. Export the ids as integers "
            "or text"
        )


def _first_rows(frame: pl.LazyFrame, bad: pl.Expr) -> str:
    rows = frame.select(bad.alias("bad")).with_row_index("row").filter("bad").select("row").head(3)
    return ", ".join(str(r) for r in rows.collect(engine="streaming")["row"])


def _check_choice(name: str, value: object, choices: tuple[object, ...]) -> None:
    if value not in choices:
        raise ParameterError(f"{name}={value!r}; it must be one of {', '.join(map(repr, choices))}")
