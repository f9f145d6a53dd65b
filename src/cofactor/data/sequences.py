"""Events in the order of session and time, as flat arrays, by one pass over the log."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl

from cofactor.checks import warn
from cofactor.data.codes import Codes
from cofactor.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from cofactor.data.ids import IdMap
    from cofactor.data.log import Log

__all__ = [
    "ITEM",
    "SESSION",
    "TIME",
    "TYPE",
    "USER",
    "Numbering",
    "Selected",
    "Sequences",
    "Steps",
    "by_session_and_time",
    "integer_numbers",
    "read_sequences",
    "seconds_of",
    "selected",
    "starts_of",
    "typed",
    "warn_without_session",
]

SESSION, ITEM, USER = "cofactor:session", "cofactor:item", "cofactor:user"
TIME, TYPE, _KEY = "cofactor:time", "cofactor:type", "cofactor:key"
_MAX_TYPES = 256
_COARSER = (10**6, 10**3)  # units of time in microseconds
_CHUNK = 2**17  # events looked at at once, so that they stay in cache


class Steps(NamedTuple):
    """Events of all users, each user's in the order of time: user rows, item rows, places from 1, the oldest."""

    users: NDArray[np.int32]
    items: NDArray[np.int32]
    places: NDArray[np.int64]


class Sequences(NamedTuple):
    """Events by session, then time; equal times in the order of the log."""

    indptr: NDArray[np.int64]  # (n_sessions + 1,); no session is empty
    items: NDArray[np.int32]
    times: NDArray[np.int64] | None  # seconds since 1970
    types: NDArray[np.uint8] | None
    type_names: tuple[str, ...]
    session_ids: pl.Series  # ascending
    item_ids: IdMap
    steps: Steps | None


class Selected(NamedTuple):
    """A query for the codes of events, and what they stand for."""

    frame: pl.LazyFrame  # SESSION, ITEM, and perhaps USER, TIME (microseconds) and TYPE
    session: str
    sessions: Codes  # integers as they are
    items: Codes
    users: Codes
    types: Codes | None


def selected(log: Log, *, with_users: bool) -> Selected:
    """What sequences are made of."""
    frame, schema = log.frame, log.frame.collect_schema()
    session = log.session if log.session is not None else log.user
    sessions = Codes.of(session, schema[session])
    users, items = (Codes.of(c, schema[c], log.bounds.get(c)) for c in (log.user, log.item))
    columns = [sessions.expr.alias(SESSION), items.expr.alias(ITEM)]
    if with_users:
        columns.append(users.expr.alias(USER))
    if log.time is not None:
        columns.append(pl.col(log.time).dt.timestamp("us").alias(TIME))
    types = None
    if log.event_type is not None:
        frame = frame.with_columns(_as_text(log.event_type, schema[log.event_type]))
        types = Codes.of(log.event_type, frame.collect_schema()[log.event_type])
        columns.append(types.expr.alias(TYPE))
    return Selected(frame.select(columns), session, sessions, items, users, types)


def read_sequences(
    log: Log, items: IdMap | None = None, users: IdMap | None = None, *, steps: bool = False
) -> Sequences:
    """Read the events of a log once.

    A session is what the ``session`` role says, or else the user. Events without a session are left out, with a warning
    that counts them.

    Parameters
    ----------
    log : Log
    items, users : IdMap, optional
        Events of others are left out, and rows are those of ``items``; by default of the items that occur.
    steps : bool
        Put the events of every user in order too, whatever their session; needs ``users``.

    Raises
    ------
    DataError
        There are no events, more than 256 types of them, or the log cannot be read.
    """
    query = selected(log, with_users=users is not None)
    sessions, item_codes, user_codes, type_codes = query.sessions, query.items, query.users, query.types
    try:
        table = query.frame.collect(engine="streaming")
    except (pl.exceptions.PolarsError, OSError) as error:
        raise log.explained(error, []) from error
    if not steps:
        table = with_session(table, query.session)
    names: tuple[str, ...] = ()
    if type_codes is not None:
        types, names = typed(table.drop_in_place(TYPE), type_codes)
        table = table.with_columns(pl.Series(TYPE, types))
    codes = table.drop_in_place(ITEM)
    rows, items = item_codes.own(codes) if items is None else (item_codes.among(items, codes), items)
    table, known = table.with_columns(pl.Series(ITEM, rows)), rows >= 0
    if users is not None:
        rows = user_codes.among(users, table.drop_in_place(USER))
        table, known = table.with_columns(pl.Series(USER, rows)), known & (rows >= 0)
    del codes, rows
    table = table if known.all() else table.filter(pl.Series(known))
    of_users = None
    if steps and log.session is not None:  # events without a session are steps too
        by_user, _ = by_session_and_time(
            table.select(pl.col(USER).cast(pl.Int64).alias(SESSION), ITEM, *_time_of(table))
        )
        of_users = _steps(by_user[SESSION].to_numpy(), by_user[ITEM].to_numpy())
        table = with_session(table, query.session)
    if table.is_empty():
        raise DataError("there are no events to make sessions of")
    if users is not None:
        table.drop_in_place(USER)
    read = _in_order(table, sessions, names, items)
    if steps and of_users is None and users is not None:  # sessions are users, and they are all of them in their order
        of_users = _steps(np.repeat(users.rows(read.session_ids), np.diff(read.indptr)), read.items)
    return read._replace(steps=of_users)


def _in_order(table: pl.DataFrame, sessions: Codes, names: tuple[str, ...], items: IdMap) -> Sequences:
    """Sort the events; ``table`` has codes of sessions, rows of items, and perhaps times and types, and loses them.

    A log in order, as most are that come by session, costs one look and no further copy of its columns.
    """
    codes = table.drop_in_place(SESSION)
    numbers, ids_of = _numbered(codes, sessions)
    del codes
    times = table.drop_in_place(TIME).to_numpy() if TIME in table.columns else None
    if _ascends(numbers, times):
        seconds = None if times is None else seconds_of(times, 1, 0)
        del times
    else:
        columns = {SESSION: numbers} if times is None else {SESSION: numbers, TIME: times}
        table = table.with_columns(pl.Series(name, values) for name, values in columns.items())
        del columns, times
        table, seconds = by_session_and_time(table)
        numbers = table.drop_in_place(SESSION).to_numpy()
    rows = table.drop_in_place(ITEM).to_numpy()
    types = table.drop_in_place(TYPE).to_numpy() if TYPE in table.columns else None
    first = starts_of(numbers)
    ids = ids_of(numbers[first]).rename("session_id")
    return Sequences(np.append(first, len(rows)), rows, seconds, types, names, ids, items, None)


def _ascends(numbers: NDArray[np.int64], times: NDArray[np.int64] | None) -> bool:
    """Whether events are in the order of session and time."""
    for at in range(0, len(numbers) - 1, _CHUNK):
        piece = slice(at, at + _CHUNK + 1)
        step = np.diff(numbers[piece])
        if (step < 0).any() or (times is not None and (np.diff(times[piece])[step == 0] < 0).any()):
            return False
    return True


def _as_text(column: str, dtype: pl.DataType) -> pl.Expr:
    return pl.col(column) if dtype in (pl.String, pl.Categorical, pl.Enum) else pl.col(column).cast(pl.String)


def _time_of(table: pl.DataFrame) -> list[str]:
    return [TIME] if TIME in table.columns else []


def warn_without_session(session: str, n: int) -> None:
    """Tell how many events belong to no session."""
    warn(f"{session}: {n:,} events without a session left out")


def with_session(table: pl.DataFrame, session: str) -> pl.DataFrame:
    """Leave out the events that belong to no session, and say so."""
    if not (n := table[SESSION].null_count()):
        return table
    warn_without_session(session, n)
    return table.filter(pl.col(SESSION).is_not_null())


def typed(codes: pl.Series, of: Codes) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Types as positions among their names, these in the order of their text; a missing type is called "null"."""
    missing, top = codes.null_count() > 0, codes.max()
    size = 0 if top is None else int(top) + 1  # type: ignore[arg-type]
    numbers = codes.fill_null(size).to_numpy() if missing else codes.to_numpy()
    occurs = np.zeros(size + 1, np.bool_)
    occurs[numbers] = True
    present = np.flatnonzero(occurs[:size])
    names = dict(zip(present.tolist(), of.texts(pl.Series(present)).cast(pl.String).to_list(), strict=True))
    wanted = sorted({*names.values(), *(["null"] if missing else [])})
    if len(wanted) > _MAX_TYPES:
        raise DataError(
            f"event_type={of.column!r} has {len(wanted):,} types, at most {_MAX_TYPES} can be told apart; "
            f"the first: {', '.join(wanted[:3])}. Is it the right column?"
        )
    places = np.zeros(size + 1, np.uint8)
    for code, name in names.items():
        places[code] = wanted.index(name)
    if missing:
        places[size] = wanted.index("null")
    return np.take(places, numbers), tuple(wanted)


def _numbered(codes: pl.Series, sessions: Codes) -> tuple[NDArray[np.int64], Callable[[NDArray[np.int64]], pl.Series]]:
    """Sessions as whole numbers from 0 in the order of their ids, and the way back to the ids."""
    if (ways := integer_numbers(sessions.dtype, codes.min(), codes.max())) is not None:
        return ways.numbers(codes), ways.ids
    rows, ids = sessions.own(codes)
    return rows.astype(np.int64), ids.take


class Numbering(NamedTuple):
    """Sessions as whole numbers from 0 in the order of their ids, and the way back to the ids."""

    numbers: Callable[[pl.Series], NDArray[np.int64]]
    ids: Callable[[NDArray[np.int64]], pl.Series]


def integer_numbers(dtype: pl.DataType, low: object, high: object) -> Numbering | None:
    """The distance of integers from the lowest; None where ids are none, or too far apart."""
    if not dtype.is_integer() or not isinstance(low, int) or not isinstance(high, int) or high - low >= 2**62:
        return None
    wide = pl.Int64 if high < 2**63 else pl.Int128
    lowest = pl.Series([low], dtype=wide)  # polars adds no number of Python to 128 bits
    return Numbering(
        lambda codes: (codes.cast(wide) - lowest).cast(pl.Int64).to_numpy(),
        lambda numbers: (pl.Series(numbers).cast(wide) + lowest).cast(dtype),
    )


def by_session_and_time(table: pl.DataFrame) -> tuple[pl.DataFrame, NDArray[np.int64] | None]:
    """The events by session and time, and the seconds of all; stable.

    Session and time are packed into one integer of 64 bits where they fit: sorting handles a single column.
    """
    if TIME not in table.columns:
        return _stable(table, [SESSION]), None
    times = table[TIME].to_numpy()
    oldest, newest, unit = int(times.min()), int(times.max()), 1
    bits, last = (newest - oldest).bit_length(), int(table[SESSION].max())  # type: ignore[arg-type]
    if last.bit_length() + bits > 63:
        unit = _unit(times)
        bits = ((newest - oldest) // unit).bit_length()
    if last.bit_length() + bits > 63:
        table = _stable(table, [SESSION, TIME])
        return table, seconds_of(table.drop_in_place(TIME).to_numpy(), 1, 0)
    since = (pl.col(TIME) - oldest) // unit
    table = table.with_columns((pl.col(SESSION) * 2**bits + since).alias(_KEY)).drop(SESSION, TIME)
    table = _stable(table, [_KEY])
    keys = table.drop_in_place(_KEY)
    seconds = seconds_of(keys.to_numpy(), unit, oldest, bits)
    return table.with_columns((keys // 2**bits).alias(SESSION)), seconds


def _stable(table: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    if len(keys) == 1 and table[keys[0]].is_sorted():
        return table.rechunk()
    return table.sort(keys, maintain_order=True)


def _unit(times: NDArray[np.int64]) -> int:
    """The coarsest unit that all times are multiples of, in microseconds."""
    for unit in _COARSER:
        if all((times[at : at + _CHUNK] % unit == 0).all() for at in range(0, len(times), _CHUNK)):
            return unit
    return 1


def seconds_of(keys: NDArray[np.int64], unit: int, oldest: int, bits: int | None = None) -> NDArray[np.int64]:
    """Seconds since 1970, rounded down, of times in units since the oldest, the low bits of the keys."""
    seconds = np.empty(len(keys), np.int64)
    for at in range(0, len(keys), _CHUNK):
        piece = slice(at, at + _CHUNK)
        since = keys[piece] if bits is None else keys[piece] & (2**bits - 1)
        np.floor_divide(since * unit + oldest, 10**6, out=seconds[piece])
    return seconds


def starts_of(numbers: NDArray[np.integer]) -> NDArray[np.int64]:
    """Where a new session begins, in numbers that ascend."""
    return np.concatenate([np.zeros(1, np.int64), np.flatnonzero(numbers[1:] != numbers[:-1]) + 1])


def _steps(users: NDArray[np.integer], items: NDArray[np.int32]) -> Steps:
    starts = starts_of(users)
    lengths = np.diff(np.append(starts, len(users)))
    return Steps(users.astype(np.int32), items, np.arange(1, len(users) + 1) - np.repeat(starts, lengths))
