"""Checks of an event log's columns, in one streaming pass, and their final form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import polars as pl

from cofactor.checks import check_choice, nearest
from cofactor.data.id_columns import Bounds, IdColumn, first_rows
from cofactor.data.times import TimeColumn, TimeOptions
from cofactor.errors import DataError, ParameterError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from cofactor.data.sources import Source

__all__ = [
    "Anonymous",
    "Bounds",
    "Facts",
    "Prepared",
    "collect_facts",
    "prepare",
    "require_columns",
]

Anonymous: TypeAlias = Literal["error", "drop", "session"]
_ISO = TimeOptions()


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
    n_rows : int
        How many there were, dropped events included.
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
    n_rows: int
    facts: Facts | None
    bounds: dict[str, Bounds]
    notes: tuple[str, ...] = ()
    dropped: str | None = None


def require_columns(columns: Iterable[str], roles: Mapping[str, str | None]) -> None:
    """Raise ``DataError`` unless every column that has a role exists."""
    columns = list(columns)
    for role, column in roles.items():
        if column is not None and column not in columns:
            hint = nearest(column, columns)
            told = f"{hint} The columns are {columns}." if hint else f"; the columns are {columns}."
            raise DataError(f"{role}={column!r}: there is no such column{told}")


def collect_facts(frame: pl.LazyFrame, time: str | None) -> Facts:
    """One streaming pass over prepared events."""
    exprs = [pl.len().alias("n")]
    if time is not None:
        column = TimeColumn(time, frame.collect_schema()[time]).utc
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
    times: TimeOptions = _ISO,
    source: Source | None = None,
) -> Prepared:
    """Check the columns in one streaming pass and bring ids and times into their final form.

    ``source`` tells which id columns of ``frame`` are text that inference would change; those of whole numbers, each
    written as Int64 writes it, become integers.

    Raises
    ------
    DataError
        A column is missing or of a wrong type, the log is empty, an id or a time is missing, a float id is no
        whole number, a time is implausible. The message names the column, the count and the first rows.
    ParameterError
        ``anonymous`` is none of its choices, or lacks its column.
    """
    check_choice("anonymous", anonymous, get_args(Anonymous))
    if anonymous == "session" and session is None:
        raise ParameterError("anonymous='session' needs session=, the column of session ids")
    inferred = {} if source is None else source.inferred
    ids = {c: IdColumn.of(frame, c, inferred.get(c)) for c in dict.fromkeys((user, item, session)) if c is not None}
    clock = None if time is None else TimeColumn(time, frame.collect_schema()[time], times)
    row = _facts(frame, ids, clock, (user, session))
    if not row["n"]:
        raise DataError("the log is empty: it has columns, but no events")
    for name in dict.fromkeys([user, item] if anonymous == "error" else [item]):
        _refuse_missing(frame, ids[name], row, hint=_ANONYMOUS_HINT if name == user else _MISSING_HINT)
    notes = [f"{c.name}: whole-number floats read as integers" for c in ids.values() if c.dtype.is_float()]
    for column in ids.values():
        column.refuse_fractions(frame, row)
        notes += column.empty_notes(row)
    final = {name: column.present if row.get(f"empty:{name}") else column.value for name, column in ids.items()}
    bounds = {name: b for name, column in ids.items() if (b := column.bounds(row))}
    if source is not None and inferred:
        if source.format == "jsonl":
            _refuse_rounded(ids, row)
        numbers = [name for name, column in ids.items() if column.is_whole(frame, row)]
        texts = [column for name, column in ids.items() if name not in numbers]
        notes += [note for column in texts for note in column.text_notes(frame)]
        bounds = {name: b for name, b in bounds.items() if name in numbers or not ids[name].tried}
        frame = source.with_integers(numbers)
        ids |= {name: IdColumn(name, pl.Int64()) for name in numbers}
        final |= {name: ids[name].value for name in numbers}
    if anonymous == "session" and session is not None:
        final[user], note = _unified(frame, ids[user], ids[session], row)
        notes.append(note)
        bounds.pop(user, None)
    facts = Facts(row["n"])
    if clock is not None:
        _refuse_missing(frame, clock, row, hint=_MISSING_HINT, first=clock.hint(frame, row))
        final[clock.name], ends, time_notes = clock.finish(row)
        facts = Facts(row["n"], *ends)
        notes += time_notes
    dropped = None
    if anonymous == "drop" and row[f"missing:{user}"]:
        dropped = _dropped(ids[user], row)
        frame = frame.filter(~ids[user].missing)
    frame = frame.with_columns(e.alias(name) for name, e in final.items())
    return Prepared(frame, row["n"], None if dropped else facts, bounds, tuple(notes), dropped)


def _refuse_rounded(ids: Mapping[str, IdColumn], row: Mapping[str, Any]) -> None:
    """JSON numbers with a point or an exponent pass through 64-bit floats before they become text."""
    for name, column in ids.items():
        floats = column.inferred is not None and column.inferred.is_float()
        largest = max(map(abs, column.bounds(row) or (0,))) if floats else 0
        if largest >= 2**53:
            raise DataError(
                f"column {name!r} holds JSON numbers with a point or an exponent, and ids up to {largest}: floats are "
                "exact below 2^53. Write the ids as whole numbers or text"
            )


def _facts(
    frame: pl.LazyFrame, ids: Mapping[str, IdColumn], clock: TimeColumn | None, owners: tuple[str, str | None]
) -> dict[str, Any]:
    """The one pass."""
    exprs = [pl.len().alias("n"), *(e for c in (*ids.values(), clock) if c is not None for e in c.facts())]
    user, session = owners
    if session is not None:
        exprs.append((ids[user].missing & ids[session].missing).sum().alias("nobody"))
    for column in ids.values():
        frame = column.with_number(frame)
    return frame.select(exprs).collect(engine="streaming").row(0, named=True)


_MISSING_HINT = "Leave such events out first, e.g. pl.scan_parquet(...).filter(pl.col({column!r}).is_not_null())"
_ANONYMOUS_HINT = (
    "Choose what becomes of them: anonymous='drop' leaves them out, anonymous='session' takes the session for the user"
)


def _unified(frame: pl.LazyFrame, user: IdColumn, session: IdColumn, row: Mapping[str, Any]) -> tuple[pl.Expr, str]:
    """Users as text: ``u_<user>`` where known, ``s_<session>`` elsewhere."""
    if row["nobody"]:
        rows = first_rows(frame, user.missing & session.missing)
        raise DataError(
            f"{row['nobody']:,} of {row['n']:,} events have neither a user ({user.name!r}) nor a session "
            f"({session.name!r}); the first rows (from 0): {rows}. Leave them out first"
        )
    # Not pl.format: in plans that stream it panics on parts without rows (polars 2.1).
    known = pl.concat_str(pl.lit("u_"), user.text)
    expr = pl.when(user.missing).then(pl.concat_str(pl.lit("s_"), session.text)).otherwise(known)
    n = row[f"missing:{user.name}"]
    return (
        expr,
        f"{user.name}: {n:,} of {row['n']:,} events have no user; their session stands in (s_<session>)",
    )


def _dropped(user: IdColumn, row: Mapping[str, Any]) -> str:
    n_missing, n = row[f"missing:{user.name}"], row["n"]
    if n_missing == n:
        raise DataError(f"column {user.name!r}: all {n:,} values are {user.fault}; no user would be left")
    return f"{user.name}: dropped {n_missing:,} of {n:,} events without a user"


def _refuse_missing(
    frame: pl.LazyFrame, column: IdColumn | TimeColumn, row: Mapping[str, Any], *, hint: str, first: str = ""
) -> None:
    count, n = row[f"missing:{column.name}"], row["n"]
    if count == n:
        raise DataError(f"column {column.name!r}: all {n:,} values are {column.fault}; is it the right column?{first}")
    if count:
        raise DataError(
            f"column {column.name!r}: {count:,} of {n:,} values are {column.fault}; the first rows (from 0): "
            f"{first_rows(frame, column.missing)}.{first} {hint.format(column=column.name)}"
        )
