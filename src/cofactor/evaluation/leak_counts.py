"""What a test shares with a training log, counted in one pass over the log.

The test is small and the log is large, so that everything is held against the test: ids are hashed, and a training
event finds its user, its item and their pair among those of the test by a gather of a table each. That takes a fraction
of what joins take, and memory for the test and one block of the log, whatever the type of the ids. Ids count as equal
where their 64-bit hashes are: of ten million, two do by chance in one log of 400,000.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from cofactor.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LeakCounts"]

_BLOCK = 1 << 18  # events at once: what is gathered of them stays in the cache
_ROOM = 4  # places of a table for each key, so that nearly all keys are found in the first one
_GOLDEN = 0x9E3779B97F4A7C15
_IDS = ("user_id", "item_id")


class LeakCounts:
    """The events of a log, held against a test block by block.

    Parameters
    ----------
    test : DataFrame
        ``user_id`` and ``item_id`` in the types of the log, null where the value is none of these, and ``time`` where
        the log has times as well, of the same type.

    Raises
    ------
    DataError
        Times are none that can be counted with.
    """

    def __init__(self, test: pl.DataFrame) -> None:
        hashed = test.select(_hash(name, test.schema[name]) for name in _IDS)
        self._user, self._item = _Known(hashed["user_id"].to_numpy()), _Known(hashed["item_id"].to_numpy())
        self._pair = _Known(self._pairs(self._user.rows, self._item.rows))
        missing = [test[name].is_null().to_numpy() for name in _IDS]  # which no event of the log can be
        self._there = {"user_id": ~missing[0], "item_id": ~missing[1], "pair": ~(missing[0] | missing[1])}
        self.n_events = self.n_late = 0
        self._time = _times(test["time"], missing_as="latest") if "time" in test.columns else None
        if self._time is not None:
            self._first = self._time.min()
            self._last = np.full(self._user.n, _end(self._time.dtype, "earliest"), self._time.dtype)

    def count(self, log: pl.LazyFrame, begin: Any = None) -> None:  # noqa: ANN401
        """Go through a log.

        Parameters
        ----------
        log : LazyFrame
            ``user_id``, ``item_id`` and perhaps ``time``.
        begin : optional
            Where the test begins, in the type of the times; counts ``n_late`` from there on.
        """
        schema = log.collect_schema()
        wanted = [_hash(name, schema[name]) for name in _IDS]
        wanted += [pl.col("time")] if "time" in schema else []
        for block in log.select(wanted).collect_batches(chunk_size=_BLOCK, maintain_order=False, engine="streaming"):
            self._add(block, begin)

    def _add(self, block: pl.DataFrame, begin: Any) -> None:  # noqa: ANN401
        self.n_events += block.height
        user, item = self._user.meet(block["user_id"].to_numpy()), self._item.meet(block["item_id"].to_numpy())
        both = np.flatnonzero((user >= 0) & (item >= 0))
        pair = self._pair.meet(self._pairs(user[both], item[both]))
        if begin is not None:
            self.n_late += int((block["time"] >= begin).sum())
        if self._time is None:
            return
        time = _times(block["time"], missing_as="earliest")
        if time.max() < self._first:  # it is all over before the test begins
            return
        late = np.flatnonzero((user >= 0) & (time >= self._first))
        np.maximum.at(self._last, user[late], time[late])
        same = np.flatnonzero(pair >= 0)
        moment = self._moment.meet(time[both[same]].view(np.uint64))
        same, moment = same[moment >= 0], moment[moment >= 0]
        self._event.meet(self._events(pair[same], moment))

    @cached_property
    def _moment(self) -> _Known:
        """The times of the test, which are asked for where the log goes on for so long."""
        assert self._time is not None
        return _Known(self._time.view(np.uint64))

    @cached_property
    def _event(self) -> _Known:
        return _Known(self._events(self._pair.rows, self._moment.rows))

    @property
    def n_early(self) -> int | None:
        """Test events before the same user's last training event; None without times."""
        return (
            None
            if self._time is None
            else int((self._time < self._last[self._user.rows])[self._there["user_id"]].sum())
        )

    @property
    def n_same(self) -> int | None:
        """Test events that are in training at the same time; None without times."""
        if self._time is None or "_event" not in self.__dict__:  # no block was asked for them
            return None if self._time is None else 0
        return int(self._event.met[self._event.rows][self._there["pair"]].sum())

    def n_met(self, what: str) -> tuple[int, int]:
        """Distinct ``"user_id"``, ``"item_id"`` or ``"pair"`` of the test that are in training, and all of them.

        Those that the types of the log cannot hold are not counted.
        """
        known = {"user_id": self._user, "item_id": self._item, "pair": self._pair}[what]
        of = known.distinct(self._there[what])
        return int((known.met & of).sum()), int(of.sum())

    def _pairs(self, user: NDArray[np.integer], item: NDArray[np.integer]) -> NDArray[np.uint64]:
        keys: NDArray[np.uint64] = user.astype(np.uint64) * np.uint64(self._item.n) + item.astype(np.uint64)
        return keys

    def _events(self, pair: NDArray[np.integer], moment: NDArray[np.integer]) -> NDArray[np.uint64]:
        keys: NDArray[np.uint64] = pair.astype(np.uint64) * np.uint64(self._moment.n) + moment.astype(np.uint64)
        return keys


class _Known:
    """Distinct keys of a test, numbered, and which of them a log has met.

    A key has its place in a table by its product with the golden ratio; those whose place another one took have one in
    the next table: nearly every look-up ends in the first.
    """

    def __init__(self, keys: NDArray[np.uint64]) -> None:
        self._keys = pl.Series(keys).unique().to_numpy()
        self.n = len(self._keys)
        self._tables: list[tuple[NDArray[np.int32], np.uint64]] = []
        left = np.arange(self.n, dtype=np.int32)
        while len(left):
            bits = max(4, int(np.ceil(np.log2(_ROOM * len(left)))))
            table, shift = np.full(1 << bits, -1, np.int32), np.uint64(64 - bits)
            place = _place(self._keys[left], len(self._tables), shift)
            table[place] = left
            self._tables.append((table, shift))
            left = left[table[place] != left]
        self._met = np.zeros(self.n + 1, np.bool_)  # the last one is met by what is not known
        self.rows = self.meet(keys)
        self._met[:] = False

    def meet(self, keys: NDArray[np.uint64]) -> NDArray[np.int32]:
        """The number of every key, -1 where it is not known; those that are known have been met."""
        (table, shift), *others = self._tables
        found = table[_place(keys, 0, shift)]
        missed = np.flatnonzero((self._keys[found] != keys) & (found >= 0))
        found[missed] = -1
        for level, (table, shift) in enumerate(others, 1):
            at = table[_place(keys[missed], level, shift)]
            hit = (at >= 0) & (self._keys[at] == keys[missed])
            found[missed[hit]] = at[hit]
            missed = missed[(at >= 0) & ~hit]
        self._met[found] = True
        return found

    @property
    def met(self) -> NDArray[np.bool_]:
        """Which keys have been met."""
        return self._met[:-1]

    def distinct(self, there: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which keys some row of the test has that is ``there``."""
        found = np.zeros(self.n, np.bool_)
        found[self.rows if there.all() else self.rows[there]] = True
        return found


def _place(keys: NDArray[np.uint64], level: int, shift: np.uint64) -> NDArray[np.int64]:
    """Places in the table of a level; each level multiplies once more."""
    for _ in range(level + 1):
        keys = keys * np.uint64(_GOLDEN)
    places: NDArray[np.int64] = (keys >> shift).view(np.int64)
    return places


def _hash(name: str, dtype: pl.DataType) -> pl.Expr:
    """Equal for equal ids; the numbers behind categories depend on where they were met."""
    column = pl.col(name)
    return (column.cast(pl.String) if dtype in (pl.Categorical, pl.Enum) else column).hash()


def _times(times: pl.Series, *, missing_as: str) -> NDArray[Any]:
    """Times as int64, or float64 of numbers with a fraction."""
    if times.dtype.is_float() or times.dtype.is_decimal():
        values = times.cast(pl.Float64) + 0.0  # of the two zeros there is one left
    elif times.dtype.is_integer() or times.dtype.is_temporal():
        values = times.to_physical().cast(pl.Int64, strict=False)
    else:
        raise DataError(f"time is {times.dtype}, which cannot be counted with; make it a datetime or a number first")
    kind = np.dtype(np.float64 if values.dtype.is_float() else np.int64)
    found: NDArray[Any] = values.fill_null(_end(kind, missing_as)).to_numpy()
    return found


def _end(dtype: np.dtype[Any], which: str) -> Any:  # noqa: ANN401
    """The earliest or the latest time that there is."""
    if dtype.kind == "f":
        return -np.inf if which == "earliest" else np.inf
    return getattr(np.iinfo(dtype), "min" if which == "earliest" else "max")
