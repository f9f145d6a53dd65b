"""Grouping of events by (user, item): id maps and sparse rows of weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import polars as pl

from cofactor.data.ids import IdMap
from cofactor.errors import DataError
from cofactor.kernels.csr import CSR

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from cofactor.data.columns import Bounds

__all__ = ["Weight", "aggregate", "renumbered", "summed"]

Weight: TypeAlias = "pl.Expr | str | float | None"
"""What ``interactions(weight=...)`` accepts; see ``Events.interactions``."""

_PAIR, _WEIGHT, _ROW = "cofactor:pair", "cofactor:weight", "cofactor:row:"
_MAX_DIRECT = 2**26  # widest range of integer ids that is addressed directly: 320 MB of tables


def summed(weight: pl.Expr) -> pl.Expr:
    """Add up one weight per event; a null among them makes NaN, so that it is found, not passed over."""
    return weight.cast(pl.Float64).fill_null(np.nan).sum()


def aggregate(
    frame: pl.LazyFrame, user: str, item: str, weight: pl.Expr, bounds: Mapping[str, Bounds]
) -> tuple[IdMap, IdMap, CSR]:
    """Group events by (user, item) into id maps and sparse rows.

    One pass over ``frame`` when both id columns are integers of moderate range, otherwise one more to find
    the distinct ids. User and item are packed into one 64-bit key, so that grouping and sorting handle a
    single integer column. Takes O(n_events + nnz log nnz).

    Parameters
    ----------
    frame : events; neither id column holds nulls
    user, item : str
        The id columns.
    weight : pl.Expr
        Gives one number per group.
    bounds : mapping
        Smallest and largest id of integer columns.

    Raises
    ------
    DataError
        There are no events.
    """
    users, items = _codes(frame, (user, item), bounds)
    for codes in (users, items):
        frame = codes.attach(frame)
    key = (users.expr * 2**items.bits + items.expr).alias(_PAIR)
    groups = frame.group_by(key).agg(weight.cast(pl.Float32).alias(_WEIGHT)).collect(engine="streaming")
    pairs = groups.sort(_PAIR)  # takes less memory here than as part of the query
    del groups
    if pairs.is_empty():
        raise DataError("there are no events to make interactions of")
    values = pairs.drop_in_place(_WEIGHT).to_numpy()
    keys = pairs.drop_in_place(_PAIR).to_numpy()
    user_codes = keys >> items.bits
    starts = np.concatenate([np.zeros(1, np.int64), np.flatnonzero(user_codes[1:] != user_codes[:-1]) + 1])
    user_codes = user_codes[starts]
    columns, item_codes = renumbered(keys & (2**items.bits - 1), items.n_codes)
    indptr = np.append(starts, len(keys))
    return users.ids(user_codes), items.ids(item_codes), CSR(indptr, columns, values, len(item_codes))


@dataclass(frozen=True)
class _Codes:
    """Integers 0 <= code < n_codes for the ids of one column, in the order of the ids.

    Integer ids of moderate range are coded by their distance from the smallest; others by their position
    among the distinct ids, which is joined to the events.
    """

    column: str
    dtype: pl.DataType
    low: int = 0
    high: int = 0
    known: IdMap | None = None

    @property
    def n_codes(self) -> int:
        return self.high - self.low + 1 if self.known is None else len(self.known)

    @property
    def bits(self) -> int:
        return max(self.n_codes - 1, 1).bit_length()

    @property
    def expr(self) -> pl.Expr:
        if self.known is None:
            return pl.col(self.column).cast(pl.Int64) - self.low
        return pl.col(_ROW + self.column).cast(pl.Int64)

    def attach(self, frame: pl.LazyFrame) -> pl.LazyFrame:
        if self.known is None:
            return frame
        table = pl.LazyFrame({self.column: self.known.ids}).with_row_index(_ROW + self.column)
        return frame.join(table, on=self.column, how="left", maintain_order="none")

    def ids(self, codes: NDArray[np.int64]) -> IdMap:
        if self.known is None:
            return IdMap(pl.Series(codes + self.low).cast(self.dtype))
        return IdMap(self.known.take(codes))


def _codes(frame: pl.LazyFrame, columns: tuple[str, str], bounds: Mapping[str, Bounds]) -> list[_Codes]:
    schema = frame.collect_schema()
    direct = {
        c: _Codes(c, schema[c], *bounds[c])
        for c in columns
        if c in bounds and bounds[c][1] < 2**63 and bounds[c][1] - bounds[c][0] < _MAX_DIRECT
    }
    others = [c for c in columns if c not in direct]
    distinct = pl.collect_all([frame.select(pl.col(c).unique()) for c in others], engine="streaming")
    joined = {
        c: _Codes(c, schema[c], known=IdMap.from_values(ids.to_series()))
        for c, ids in zip(others, distinct, strict=True)
    }
    return [(direct | joined)[c] for c in columns]


def renumbered(codes: NDArray[np.integer], n_codes: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Renumber the codes that occur as 0, 1, 2, ...: the new numbers, and the codes they stand for."""
    present = np.zeros(n_codes, np.bool_)
    present[codes] = True
    return (np.cumsum(present, dtype=np.int32) - 1)[codes], np.flatnonzero(present)
