"""Ids as integers while events stream by: one pass over the log, without a look at the ids beforehand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl

from cofactor.data.ids import IdMap
from cofactor.errors import DataError

if TYPE_CHECKING:
    from typing import Self

    from numpy.typing import NDArray

    from cofactor.data.columns import Bounds

__all__ = ["Coded", "Codes", "renumbered"]

_MAX_DIRECT = 2**26  # widest range of integer ids that is addressed directly: 320 MB of tables


class Coded(NamedTuple):
    """Row numbers of all values (int32), and the ids that they stand for."""

    rows: NDArray[np.int32]
    ids: IdMap


@dataclass(frozen=True)
class Codes:
    """Codes of one column's ids, made by :attr:`expr` while the column streams by.

    - Integers of moderate range, where the range is known: their distance from its low end.
    - Text: numbers in the order in which polars met them, categories of their own that go with this object. Categorical
      and enum columns have such numbers already.
    - Other ids (integers of a wide or an unknown range, binary): the ids themselves.

    Attributes
    ----------
    column : str
    dtype : pl.DataType
        Type of the ids.
    low, high : int, optional
        Of integers of moderate range.
    categories : pl.Series, optional
        Of text: empty, of the categorical type; as long as it lives, so do the categories.
    """

    column: str
    dtype: pl.DataType
    low: int | None = None
    high: int | None = None
    categories: pl.Series | None = None

    @classmethod
    def of(cls, column: str, dtype: pl.DataType, bounds: Bounds | None = None) -> Self:
        """Choose the codes of a column; ``bounds`` may be wider than the ids are."""
        if dtype.is_integer() and bounds is not None:
            low, high = bounds
            if high < 2**63 and high - low < _MAX_DIRECT:
                return cls(column, dtype, low, high)
        if dtype == pl.String:
            kind = pl.Categorical(pl.Categories.random())
            return cls(column, dtype, categories=pl.Series([], dtype=kind))
        if dtype in (pl.Categorical, pl.Enum):
            return cls(column, dtype, categories=pl.Series([], dtype=dtype))
        return cls(column, dtype)

    @property
    def is_packed(self) -> bool:
        """Whether codes are whole numbers below 2^31, two of which fit into one."""
        return self.low is not None or self.categories is not None

    @property
    def expr(self) -> pl.Expr:
        """The codes of events, UInt32; null where an id is missing. Or the ids themselves, where not ``is_packed``."""
        column = pl.col(self.column)
        if self.low is not None:
            return (column.cast(pl.Int64) - self.low).cast(pl.UInt32)  # strict: an id below the range is an error
        if self.categories is not None:
            return column.cast(self.categories.dtype).to_physical().cast(pl.UInt32)
        return column

    def own(self, codes: pl.Series) -> Coded:
        """Rows over the ids that occur.

        Raises
        ------
        DataError
            An id lies outside the range that was told.
        """
        if not self.is_packed:
            ids = IdMap.from_values(codes)
            return Coded(ids.rows(codes), ids)
        rows, present = self.renumbered(codes.to_numpy())
        if self.low is not None:
            return Coded(rows, self.ids(present))
        texts = self.texts(pl.Series(present))
        order = texts.cast(pl.String).arg_sort().to_numpy()  # the order of IdMap
        rank = np.empty(len(order), np.int32)
        rank[order] = np.arange(len(order), dtype=np.int32)
        return Coded(rank[rows], IdMap(texts.gather(order)))

    def among(self, ids: IdMap, codes: pl.Series) -> NDArray[np.int32]:
        """Rows over given ids, -1 where an id is not among them."""
        if not self.is_packed:
            return ids.rows(codes)
        numbers = codes.to_numpy()
        if self.low is None or self.high is None or not ids.dtype.is_integer():
            rows, present = self.renumbered(numbers)
            known = self.ids(present).ids if self.low is not None else self.texts(pl.Series(present))
            return ids.rows(known)[rows]
        self._check(numbers)
        places = (ids.ids.cast(pl.Int64, strict=False) - self.low).fill_null(-1).to_numpy()
        inside = np.flatnonzero((places >= 0) & (places <= self.high - self.low))
        table = np.full(self.high - self.low + 1, -1, np.int32)
        table[places[inside]] = inside
        return np.take(table, numbers)

    def renumbered(self, codes: NDArray[np.integer]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """The codes that occur as 0, 1, 2, ..., and what these stand for; DataError as in :meth:`own`."""
        self._check(codes)
        return renumbered(codes, _top(codes) if self.low is None or self.high is None else self.high - self.low + 1)

    def ids(self, codes: NDArray[np.int64]) -> IdMap:
        """The ids of ascending codes of integers; DataError as in :meth:`own`."""
        assert self.low is not None
        self._check(codes)
        return IdMap(pl.Series(codes + self.low).cast(self.dtype))

    def texts(self, numbers: pl.Series) -> pl.Series:
        """The ids that codes stand for, in the type of the column."""
        assert self.categories is not None
        kind = self.categories.dtype
        physical = self.categories.to_physical().dtype
        return numbers.cast(physical).cat.to(kind).cast(self.dtype)

    def _check(self, numbers: NDArray[np.integer]) -> None:
        if self.low is None or self.high is None or not len(numbers):
            return
        if _top(numbers) > self.high - self.low + 1 or numbers.min() < 0:
            raise DataError(
                f"column {self.column!r} holds {_top(numbers) - 1 + self.low}, but was between {self.low} and "
                f"{self.high} when it was read; the log has changed since: read it again"
            )


def _top(numbers: NDArray[np.integer]) -> int:
    return int(numbers.max()) + 1 if len(numbers) else 0


def renumbered(codes: NDArray[np.integer], n_codes: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Renumber the codes that occur as 0, 1, 2, ...: the new numbers, and the codes they stand for."""
    present = np.zeros(n_codes, np.bool_)
    present[codes] = True
    return np.take(np.cumsum(present, dtype=np.int32) - 1, codes), np.flatnonzero(present)
