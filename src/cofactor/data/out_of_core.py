"""Events in the order of session and time, sorted out of core: on disk, with a bounded part of them in memory.

An external sort by distribution. The columns that matter are copied once to a temporary file; a first look at it finds
the ids that occur and quantiles of the sessions; a second one deals the events out to buckets, each a range of sessions
that fits into the limit, in the order of the log; then every bucket is sorted in memory as a small log would be, and
appended to the result. So the result is that of sorting in memory, ties included. What is in order already is copied.
"""

from __future__ import annotations

import errno
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl

from cofactor.data.sequences import (
    ITEM,
    SESSION,
    TIME,
    TYPE,
    USER,
    Numbering,
    Selected,
    Sequences,
    by_session_and_time,
    integer_numbers,
    seconds_of,
    selected,
    starts_of,
    typed,
    warn_without_session,
)
from cofactor.data.sources import READ_ERRORS
from cofactor.errors import DataError, ParameterError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from cofactor.data.codes import Codes
    from cofactor.data.ids import IdMap
    from cofactor.data.log import Log

__all__ = ["read_out_of_core"]

_FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
_SORTED_TOGETHER = 200  # bytes of memory that sorting takes for an event, with all copies
_LOOKED_AT = 400  # for an event of those that a look has in hand
_MOST_BUCKETS = 128  # each is an open file
_SAMPLED = 1 << 16  # sessions of events that tell the quantiles


def read_out_of_core(
    log: Log, items: IdMap | None = None, users: IdMap | None = None, *, memory_limit: int
) -> Sequences:
    """Read the events of a log once, and sort them in little memory; the same sequences as ``read_sequences`` gives.

    Their arrays are mapped from files that have no name any more and go with them: 13 bytes an event. While it sorts,
    some 60 bytes an event lie in the folder of temporary files.

    Parameters
    ----------
    log : Log
    items, users : IdMap, optional
        As in ``read_sequences``.
    memory_limit : int
        Bytes of memory to sort in, beside what ids take. A bucket has a session at least: one with more events than
        the limit holds takes what it needs.

    Raises
    ------
    DataError
        As ``read_sequences``, or the disk is full.
    ParameterError
        The limit is too small for so many events.
    """
    with _on_disk(), tempfile.TemporaryDirectory(prefix="cofactor-") as folder, ExitStack() as opened:
        spool = _Spool.of(selected(log, with_users=users is not None), log, Path(folder) / "events.arrow", memory_limit)
        seen = _Seen.of(spool, items, users)
        size = max(1, memory_limit // _SORTED_TOGETHER)
        n_buckets = 1 if seen.in_order else -(-seen.n * 4 // (size * 3))  # quantiles of a sample: a third more
        if n_buckets > _MOST_BUCKETS:
            least = -(-seen.n * 4 // (3 * _MOST_BUCKETS)) * _SORTED_TOGETHER
            raise ParameterError(
                f"memory_limit={memory_limit:,} bytes; sorting {seen.n:,} events takes {least:,} at least"
            )
        result = _Result(opened)
        if seen.in_order:
            for events in spool.parts():
                result.add(*_as_sorted(seen.records(events)))
        else:
            for bucket in _dealt(spool, seen, n_buckets, opened):
                result.add(*_sorted(bucket, seen.fields))
        return result.sequences(seen)


class _Spool(NamedTuple):
    """The codes of events in a file, in the order of the log; those without a session are left out."""

    query: Selected
    file: Path
    n: int
    together: int  # events that are in hand together

    @classmethod
    def of(cls, query: Selected, log: Log, file: Path, memory_limit: int) -> _Spool:
        owned = pl.col(SESSION).is_not_null()
        try:
            query.frame.sink_ipc(file, compression="uncompressed", maintain_order=True, engine="streaming")
        except READ_ERRORS as error:
            if any(f"os error {full})" in str(error) for full in _FULL):
                raise OSError(str(error)) from error  # of the copy, not of the log
            raise log.explained(error, []) from error
        counts = pl.scan_ipc(file).select(pl.len(), owned.sum().alias("owned")).collect().row(0)
        if missing := counts[0] - counts[1]:
            warn_without_session(query.session, missing)
        return cls(query, file, counts[0], max(1 << 12, min(memory_limit // _LOOKED_AT, 1 << 20)))

    def parts(self) -> Iterator[pl.DataFrame]:
        """All events, some at a time."""
        for at in range(0, self.n, self.together):
            part = pl.scan_ipc(self.file).slice(at, self.together).collect()
            yield part.filter(pl.col(SESSION).is_not_null()) if part[SESSION].null_count() else part


class _Distinct:
    """The codes that occur, gathered part by part."""

    def __init__(self, codes: Codes) -> None:
        self.codes = codes
        self.present = np.zeros(0, np.bool_)
        self.found: list[pl.Series] = []
        self.n_found = 0
        self.missing = False

    def add(self, values: pl.Series) -> None:
        if values.null_count():
            self.missing, values = True, values.drop_nulls()
        if not self.codes.is_packed:
            self.found.append(values.unique())
            self.n_found += len(self.found[-1])
            if self.n_found > 2 * len(self.found[0]) + (1 << 20):
                self.found = [pl.concat(self.found).unique()]
                self.n_found = len(self.found[0])
            return
        numbers = values.to_numpy()
        if len(numbers) and (top := int(numbers.max()) + 1) > len(self.present):
            self.present = np.append(
                self.present, np.zeros(max(top, 2 * len(self.present)) - len(self.present), np.bool_)
            )
        self.present[numbers] = True

    def all(self) -> pl.Series:
        """Every code once, and a null where one was missing."""
        if self.codes.is_packed:
            codes = pl.Series(np.flatnonzero(self.present).astype(np.uint32))
        else:
            codes = pl.concat(self.found).unique()
        return codes.extend_constant(None, 1) if self.missing else codes

    def rows(self, places: NDArray[Any], ids: IdMap | None) -> Callable[[pl.Series], NDArray[Any]]:
        """From codes to what stands at their places in :meth:`all`; of ids that are no codes, to their rows."""
        if not self.codes.is_packed:
            assert ids is not None
            return ids.rows
        known = np.flatnonzero(self.present)
        table = np.zeros(len(self.present) + 1, places.dtype)
        table[known] = places[: len(known)]
        if self.missing:
            table[-1] = places[-1]
        return lambda codes: np.take(table, codes.fill_null(len(table) - 1).to_numpy())


class _Seen(NamedTuple):
    """What the first look at all events tells: how each column becomes numbers, and how the sessions lie."""

    n: int
    in_order: bool
    numbering: Numbering
    item_ids: IdMap
    type_names: tuple[str, ...]
    ways: dict[str, Callable[[pl.Series], NDArray[Any]]]  # from codes to rows, by column
    sample: NDArray[np.int64]  # numbers of sessions, ascending
    fields: list[tuple[str, type[np.generic]]]

    @classmethod
    def of(cls, spool: _Spool, items: IdMap | None, users: IdMap | None) -> _Seen:
        query = spool.query
        codes = {SESSION: query.sessions, ITEM: query.items, TYPE: query.types, USER: query.users}
        present = [name for name in pl.scan_ipc(spool.file).collect_schema() if name in codes]
        is_integer = query.sessions.dtype.is_integer()
        distinct = {
            name: _Distinct(of) for name in present if (of := codes[name]) and not (name == SESSION and is_integer)
        }
        order, ends, n, sample = _Order(), _Ends(), 0, []
        every = max(1, spool.n // _SAMPLED)
        for events in spool.parts():
            for name, found in distinct.items():
                found.add(events[name])
            if is_integer and len(events):
                ends.add(events[SESSION])
                order.add(events)
            sample.append(events[SESSION].gather_every(every))
            n += len(events)
        if not n:
            raise DataError("there are no events to make sessions of")
        numbering = integer_numbers(query.sessions.dtype, ends.low, ends.high)
        if numbering is None:
            numbering = _ranked(spool, distinct.get(SESSION))
        ways: dict[str, Callable[[pl.Series], NDArray[Any]]] = {}
        names: tuple[str, ...] = ()
        if TYPE in distinct:
            assert query.types is not None
            places, names = typed(distinct[TYPE].all(), query.types)
            ways[TYPE] = distinct[TYPE].rows(places, None)
        ids = distinct[ITEM].all()
        rows, known = query.items.own(ids) if items is None else (query.items.among(items, ids), items)
        ways[ITEM] = distinct[ITEM].rows(rows, known)
        if users is not None:
            ways[USER] = distinct[USER].rows(query.users.among(users, distinct[USER].all()), users)
        numbers = np.sort(numbering.numbers(pl.concat(sample)))
        fields: list[tuple[str, type[np.generic]]] = [(SESSION, np.int64), (ITEM, np.int32)]
        fields += [(TIME, np.int64)] if TIME in events.columns else []
        fields += [(TYPE, np.uint8)] if TYPE in events.columns else []
        return cls(n, is_integer and order.ascends, numbering, known, names, ways, numbers, fields)

    def records(self, events: pl.DataFrame) -> NDArray[np.void]:
        """Events as numbers, those of other items and users left out."""
        columns = {name: self.ways[name](events[name]) for name in self.ways}
        columns[SESSION] = self.numbering.numbers(events[SESSION])
        if TIME in events.columns:
            columns[TIME] = events[TIME].to_numpy()
        records = np.empty(len(events), np.dtype(self.fields))
        for name, _ in self.fields:
            records[name] = columns[name]
        known = columns[ITEM] >= 0
        if USER in columns:
            known &= columns[USER] >= 0
        return records if known.all() else records[known]


class _Ends:
    """The lowest and the highest of integers."""

    low: int | None = None
    high: int | None = None

    def add(self, values: pl.Series) -> None:
        low, high = int(values.min()), int(values.max())  # type: ignore[arg-type]
        self.low = low if self.low is None else min(self.low, low)
        self.high = high if self.high is None else max(self.high, high)


class _Order:
    """Whether events come in the order of session and time, part by part."""

    def __init__(self) -> None:
        self.ascends = True
        self.last: tuple[Any, Any] | None = None

    def add(self, events: pl.DataFrame) -> None:
        if not self.ascends:
            return
        sessions = events[SESSION]
        times = events[TIME] if TIME in events.columns else pl.repeat(0, len(events), eager=True)
        later = (sessions < sessions.shift(1)) | ((sessions == sessions.shift(1)) & (times < times.shift(1)))
        first = sessions[0], times[0]
        self.ascends = not later.any() and (self.last is None or self.last <= first)
        self.last = sessions[-1], times[-1]


def _ranked(spool: _Spool, distinct: _Distinct | None) -> Numbering:
    """Sessions by their rank among all; of ids that are no integers, or too far apart."""
    if distinct is None:
        distinct = _Distinct(spool.query.sessions)
        for events in spool.parts():
            distinct.add(events[SESSION])
    ranks, ids = spool.query.sessions.own(distinct.all())
    rank_of = distinct.rows(ranks, ids)
    return Numbering(lambda codes: rank_of(codes).astype(np.int64), ids.take)


def _dealt(spool: _Spool, seen: _Seen, n: int, opened: ExitStack) -> Iterator[NDArray[np.void]]:
    """The events by ranges of sessions, in the order of the log within each."""
    files = [opened.enter_context(_nameless()) for _ in range(n)]
    splitters = seen.sample[np.arange(1, n) * len(seen.sample) // n]
    for events in spool.parts():
        records = seen.records(events)
        bucket = np.searchsorted(splitters, records[SESSION], side="right")
        records = records[np.argsort(bucket, kind="stable")]
        ends = np.cumsum(np.bincount(bucket, minlength=n))
        for file, part in zip(files, np.split(records, ends[:-1]), strict=True):
            file.write(part.tobytes())
    for file in files:
        file.seek(0)
        yield np.frombuffer(file.read(), np.dtype(seen.fields))
        file.truncate(0)  # gives the disk back


def _as_sorted(records: NDArray[np.void]) -> tuple[pl.DataFrame, NDArray[np.int64] | None]:
    table = _table(records, [name for name in records.dtype.names or () if name != TIME])
    times = None
    if TIME in (records.dtype.names or ()):
        times = seconds_of(np.ascontiguousarray(records[TIME]), 1, 0)
    return table, times


def _sorted(
    records: NDArray[np.void], fields: list[tuple[str, type[np.generic]]]
) -> tuple[pl.DataFrame, NDArray[np.int64] | None]:
    if not len(records):
        return _as_sorted(records)
    return by_session_and_time(_table(records, [name for name, _ in fields]))


def _table(records: NDArray[np.void], names: list[str]) -> pl.DataFrame:
    return pl.DataFrame({name: np.ascontiguousarray(records[name]) for name in names})


class _Result:
    """Arrays on disk that grow part by part, and where sessions begin."""

    def __init__(self, opened: ExitStack) -> None:
        self.opened = opened
        self.files: dict[str, tuple[IO[bytes], np.dtype[Any]]] = {}
        self.n = 0
        self.starts: list[NDArray[np.int64]] = []
        self.numbers: list[NDArray[np.int64]] = []
        self.last: int | None = None

    def add(self, events: pl.DataFrame, seconds: NDArray[np.int64] | None) -> None:
        """Append sorted events."""
        columns = {name: events[name].to_numpy() for name in events.columns if name != SESSION}
        if seconds is not None:
            columns[TIME] = seconds
        for name, values in columns.items():
            if name not in self.files:
                self.files[name] = self.opened.enter_context(_nameless()), values.dtype
            self.files[name][0].write(values.tobytes())
        numbers = events[SESSION].to_numpy()
        if not len(numbers):
            return
        first = starts_of(numbers)
        if self.last == numbers[0]:  # the session has begun in the part before
            first = first[1:]
        self.starts.append(first + self.n)
        self.numbers.append(numbers[first])
        self.n, self.last = self.n + len(numbers), int(numbers[-1])

    def sequences(self, seen: _Seen) -> Sequences:
        """What was added, mapped from the files."""
        if not self.n:
            raise DataError("there are no events to make sessions of")
        columns = {name: self._mapped(*file) for name, file in self.files.items()}
        indptr = np.concatenate([*self.starts, np.array([self.n])])
        ids = seen.numbering.ids(np.concatenate(self.numbers)).rename("session_id")
        times, types = columns.get(TIME), columns.get(TYPE)
        return Sequences(indptr, columns[ITEM], times, types, seen.type_names, ids, seen.item_ids, None)

    def _mapped(self, file: IO[bytes], dtype: np.dtype[Any]) -> NDArray[Any]:
        file.flush()
        return np.asarray(np.memmap(file, dtype, "r", shape=(self.n,)))  # and keeps the file


def _nameless() -> IO[bytes]:
    """A temporary file that goes with whoever holds it, even where the process is killed."""
    return tempfile.TemporaryFile(prefix="cofactor-")


@contextmanager
def _on_disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(
            f"the events could not be sorted in {tempfile.gettempdir()} ({error}); if it is full, let TMPDIR name a "
            "folder with more room"
        ) from error
