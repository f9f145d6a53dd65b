"""Event logs as sessions: flat arrays of item rows, times and types, in the order of time."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from cofactor.data.ids import IdMap
from cofactor.errors import CofactorWarning, DataError

if TYPE_CHECKING:
    from typing import Self

    from numpy.typing import NDArray

    from cofactor.data.interactions import Interactions
    from cofactor.data.log import Log

__all__ = ["Sessions"]

_SESSION, _ITEM, _TIME, _TYPE = "cofactor:session", "cofactor:item", "cofactor:time", "cofactor:type"
_KEY, _USER = "cofactor:key", "cofactor:user"
_MAX_DIRECT = 2**26  # widest range of integer ids that is looked up in a table: 256 MB
_MAX_TYPES = 256
_EPOCH = datetime(1970, 1, 1)
_COARSER = (10**6, 10**3)  # units of time in microseconds
_CHUNK = 2**17  # events decoded at once, so that they stay in cache


@dataclass(frozen=True, eq=False, repr=False)
class Sessions:
    """Who saw what, in which order: the events of every session in the order of time.

    Takes 13 bytes an event with times and types, 4 without, and 8 a session besides its id.

    Parameters
    ----------
    indptr : (n_sessions + 1,) int64
        Where each session starts in the arrays of events; no session is empty, but those of users without items.
    items : (n_events,) int32
        Item rows. Events of a session are ascending in time (compared at full resolution); equal times keep the order
        of the log.
    n_items : int
        Rows are below it.
    times : (n_events,) int64, optional
        Seconds since 1970 in UTC, rounded down.
    types : (n_events,) uint8, optional
        Position of the event's type in ``type_names``.
    type_names : tuple of str
        The types that occur in the log, in the order of their text; a missing type is called ``"null"``.
    session_ids : pl.Series, optional
        The id of each session, in ascending order: the ``session`` role of the events, or else the user.
    item_ids : IdMap, optional
        The id of each item row.
    """

    indptr: NDArray[np.int64]
    items: NDArray[np.int32]
    n_items: int
    times: NDArray[np.int64] | None = None
    types: NDArray[np.uint8] | None = None
    type_names: tuple[str, ...] = ()
    session_ids: pl.Series | None = None
    item_ids: IdMap | None = None

    @classmethod
    def of(cls, interactions: Interactions) -> Self:
        """The sessions of the events that interactions were made of, over the rows of their items.

        Events of users or items that are not among the interactions (any more) are left out. Where sessions are users
        (no ``session`` role), sessions are the rows of the interactions. Interactions without events (made by
        ``from_csr`` or ``from_frame``, or loaded) have one session for each user, its items ascending by row, without
        times and types.

        Raises
        ------
        DataError
            There are more than 256 types of events.
        """
        x = interactions
        if x.events is None:
            matrix = x.user_items
            return cls(matrix.indptr, matrix.indices, x.n_items, session_ids=x.users.ids, item_ids=x.items)
        return cls._read(x.events, x.items, x.users)

    @classmethod
    def from_events(cls, events: Log) -> Self:
        """Sessions of all events, over the rows of their own items; ``Events.sessions`` calls this.

        Raises
        ------
        DataError
            There are no events, or more than 256 types of them.
        """
        return cls._read(events, None, None)

    @classmethod
    def _read(cls, events: Log, items: IdMap | None, users: IdMap | None) -> Self:
        """A pass for what reading has not told, mainly the types, and another for the events."""
        session = events.session if events.session is not None else events.user
        facts = _Facts.of(events, session)
        frame = events.frame
        if facts.n_without_session:
            warnings.warn(
                f"{session}: {facts.n_without_session:,} events without a session left out",
                CofactorWarning,
                stacklevel=4,
            )
            frame = frame.filter(pl.col(session).is_not_null())
        if users is not None:
            frame = _with_rows(frame, events.user, users, _USER).filter(pl.col(_USER) >= 0)
        if items is None and facts.items_low is None:
            items = IdMap.from_values(
                frame.select(pl.col(events.item).unique()).collect(engine="streaming").to_series()
            )
        if items is not None:
            frame = _with_rows(frame, events.item, items, _ITEM).filter(pl.col(_ITEM) >= 0)
        else:
            frame = frame.with_columns(
                (pl.col(events.item).cast(pl.Int64) - facts.items_low).cast(pl.Int32).alias(_ITEM)
            )
        frame, known = facts.attach_sessions(frame, session)
        columns = [*facts.order(), pl.col(_ITEM)]
        if facts.type_names:
            columns.append(_type_codes(frame, str(events.event_type), facts.type_names).alias(_TYPE))
        table = frame.select(columns).collect(engine="streaming")
        if table.is_empty():
            raise DataError("there are no events to make sessions of")
        table = _sorted(table, [c for c in (_KEY, _SESSION, _TIME) if c in table.columns])
        types = table.drop_in_place(_TYPE).to_numpy() if facts.type_names else None
        rows = table.drop_in_place(_ITEM).to_numpy()
        if items is None:
            rows, items = _own_rows(rows, facts.items_low or 0, frame.collect_schema()[events.item])
        starts, codes, times = facts.decode(table)
        return cls(
            np.append(starts, len(table)),
            rows,
            len(items),
            times=times,
            types=types,
            type_names=facts.type_names,
            session_ids=facts.session_ids(codes, known),
            item_ids=items,
        )

    @property
    def n_sessions(self) -> int:
        """Number of sessions."""
        return len(self.indptr) - 1

    @property
    def n_events(self) -> int:
        """Number of events."""
        return len(self.items)

    def __repr__(self) -> str:
        known = [name for name in ("times", "types") if getattr(self, name) is not None]
        return (
            f"Sessions({self.n_events:,} events in {self.n_sessions:,} sessions, {self.n_items:,} items, "
            f"{' and '.join(known) if known else 'no times, no types'})"
        )


@dataclass(frozen=True)
class _Facts:
    """What is known before the events are read: how to pack session and time into one 64-bit integer."""

    dtype: pl.DataType
    n_without_session: int
    low: int | None  # of integer session ids
    high: int | None
    items_low: int | None  # of integer item ids of moderate range
    time: str | None
    oldest: int  # microseconds
    unit: int  # microseconds that all times are multiples of
    time_bits: int
    type_names: tuple[str, ...]

    @classmethod
    def of(cls, events: Log, session: str) -> Self:
        frame, known = events.frame, events.facts
        low, high = known.bounds.get(session, (None, None))
        items = known.bounds.get(events.item)
        items_low = items[0] if items and items[1] - items[0] < _MAX_DIRECT and items[1] < 2**63 else None
        oldest, newest = (
            0 if t is None else (t - _EPOCH) // timedelta(microseconds=1) for t in (known.oldest, known.newest)
        )
        span, dtype = newest - oldest, frame.collect_schema()[session]
        facts = cls(dtype, 0, low, high, items_low, events.time, oldest, 1, span.bit_length(), ())
        exprs = [pl.col(events.session).null_count().alias("missing")] if events.session is not None else []
        if events.time is not None and not facts.is_direct:
            micros = pl.col(events.time).dt.timestamp("us")
            exprs += [(micros % unit == 0).all().alias(f"whole:{unit}") for unit in _COARSER]
        queries = [frame.select(exprs)] if exprs else []
        if events.event_type is not None:
            queries.append(frame.select(pl.col(events.event_type).unique().cast(pl.String).fill_null("null").unique()))
        tables = pl.collect_all(queries, engine="streaming")
        row = tables[0].row(0, named=True) if exprs else {}
        names = tuple(tables[-1].to_series().sort()) if events.event_type is not None else ()
        if len(names) > _MAX_TYPES:
            raise DataError(
                f"event_type={events.event_type!r} has {len(names):,} types, at most {_MAX_TYPES} can be told apart; "
                f"the first: {', '.join(names[:3])}. Is it the right column?"
            )
        unit = next((u for u in _COARSER if row.get(f"whole:{u}")), 1)
        bits = (span // unit).bit_length()
        return replace(facts, n_without_session=row.get("missing", 0), unit=unit, time_bits=bits, type_names=names)

    @property
    def is_direct(self) -> bool:
        """Whether integer session ids fit into the key as they are, counted from the smallest."""
        if self.low is None or self.high is None or self.high >= 2**63:
            return False
        return (self.high - self.low).bit_length() + self.time_bits <= 63

    @property
    def is_packed(self) -> bool:
        """Whether session and time fit into one key: always with direct ids, else with up to 2^31 of them."""
        return self.is_direct or self.time_bits <= 32

    def attach_sessions(self, frame: pl.LazyFrame, session: str) -> tuple[pl.LazyFrame, IdMap | None]:
        """Add a column of integers in the order of the session ids."""
        if self.is_direct:
            return frame.with_columns((pl.col(session).cast(pl.Int64) - (self.low or 0)).alias(_SESSION)), None
        known = IdMap.from_values(frame.select(pl.col(session).unique()).collect(engine="streaming").to_series())
        return _with_rows(frame, session, known, _SESSION).with_columns(pl.col(_SESSION).cast(pl.Int64)), known

    def order(self) -> list[pl.Expr]:
        """What the events are sorted by: one key where it fits into 64 bits."""
        if self.time is None:
            return [pl.col(_SESSION).alias(_KEY)]
        time = (pl.col(self.time).dt.timestamp("us") - self.oldest) // self.unit
        if self.is_packed:
            return [(pl.col(_SESSION) * 2**self.time_bits + time).alias(_KEY)]
        return [pl.col(_SESSION), time.alias(_TIME)]

    def decode(self, table: pl.DataFrame) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64] | None]:
        """Where the sessions of sorted events start, the code of each, and the seconds of all events."""
        apart = table[_TIME].to_numpy() if _TIME in table.columns else None
        keys = table[_KEY if apart is None else _SESSION].to_numpy()
        bits = 0 if self.time is None or apart is not None else self.time_bits
        seconds = None if self.time is None else np.empty(len(keys), np.int64)
        starts, last = [], -1
        for at in range(0, len(keys), _CHUNK):
            piece = slice(at, at + _CHUNK)
            codes = keys[piece] >> bits
            starts.append(at + np.flatnonzero(np.diff(codes, prepend=last)))
            last = codes[-1]
            if seconds is not None:
                since = keys[piece] & (2**bits - 1) if apart is None else apart[piece]
                np.floor_divide(since * self.unit + self.oldest, 10**6, out=seconds[piece])
        first = np.concatenate(starts)
        return first, keys[first] >> bits, seconds

    def session_ids(self, codes: NDArray[np.int64], known: IdMap | None) -> pl.Series:
        ids = known.take(codes) if known is not None else pl.Series(codes + (self.low or 0)).cast(self.dtype)
        return ids.rename("session_id")


def _sorted(table: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """Sort stably; a log in order, as most are that come by session, costs one look."""
    if len(keys) == 1 and table[keys[0]].is_sorted():
        return table.rechunk()
    return table.sort(keys, maintain_order=True)


def _own_rows(codes: NDArray[np.int32], low: int, dtype: pl.DataType) -> tuple[NDArray[np.int32], IdMap]:
    """Row numbers for the ids ``low + code`` that occur, and the ids."""
    present = np.zeros(int(codes.max()) + 1, np.bool_)
    present[codes] = True
    ids = IdMap(pl.Series(np.flatnonzero(present) + low).cast(dtype))
    return np.take(np.cumsum(present, dtype=np.int32) - 1, codes), ids


def _type_codes(frame: pl.LazyFrame, column: str, names: tuple[str, ...]) -> pl.Expr:
    """Position of every event's type among the names."""
    dtype = frame.collect_schema()[column]
    if not isinstance(dtype, pl.Enum):
        kinds = pl.col(column).cast(pl.String).fill_null("null")
        return kinds.cast(pl.Enum(names)).to_physical().cast(pl.UInt8)
    declared = [*dtype.categories.to_list(), "null"]
    codes = np.array([names.index(name) if name in names else 0 for name in declared], np.uint8)

    def look_up(batch: pl.Series) -> pl.Series:
        return pl.Series(codes[batch.to_physical().fill_null(len(codes) - 1).to_numpy()])

    found: pl.Expr = pl.col(column).map_batches(look_up, return_dtype=pl.UInt8, is_elementwise=True)
    return found


def _with_rows(frame: pl.LazyFrame, column: str, ids: IdMap, name: str) -> pl.LazyFrame:
    """Add a column with the row number of every id, -1 where it is not among ``ids``; the order stays."""
    keys = ids.ids
    low, high = (int(keys[0]), int(keys[-1])) if len(ids) and ids.dtype.is_integer() else (0, _MAX_DIRECT)
    if high - low >= _MAX_DIRECT or high >= 2**63 or low == -(2**63):
        table = pl.LazyFrame({column: keys, name: np.arange(len(ids), dtype=np.int32)})
        joined = frame.join(table, on=column, how="left", maintain_order="left")
        return joined.with_columns(pl.col(name).fill_null(-1))
    rows = np.full(high - low + 3, -1, np.int32)  # with a place at both ends for ids that lie outside
    rows[keys.cast(pl.Int64).to_numpy() - low + 1] = np.arange(len(ids), dtype=np.int32)

    def look_up(batch: pl.Series) -> pl.Series:
        return pl.Series(rows[batch.to_numpy()])

    place = pl.col(column).cast(pl.Int64, strict=False).fill_null(low - 1).clip(low - 1, high + 1) - (low - 1)
    found: Any = place.map_batches(look_up, return_dtype=pl.Int32, is_elementwise=True)
    return frame.with_columns(found.alias(name))
