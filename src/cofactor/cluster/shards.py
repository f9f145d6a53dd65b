"""The second pass over a log: a worker's rows of the matrix and of the transposed one, made of their events.

Ids are numbered in their order, so that consecutive rows are a range of ids and a worker reads the events of that
range; where files are sorted, Parquet lets it pass over the others. Nobody sends events to anybody, and a
worker that takes the place of another makes the same rows again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from cofactor.data.interactions import Interactions
from cofactor.data.log import Log
from cofactor.errors import DataError
from cofactor.kernels.csr import CSR

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cofactor.data.columns import Bounds, Facts
    from cofactor.data.ids import IdMap

__all__ = ["Description", "cuts", "of_range", "shard"]

_BLOCKS, _MOST_BLOCKS = 64, 1024
_PER_BLOCK = 1 << 22  # events
_LEEWAY = 0.05  # of a block's work, by which its ends may be off
_ROW = 32  # what solving a row costs beside its entries, in entries


@dataclass(frozen=True)
class Description:
    """All that makes a matrix of a log.

    Attributes
    ----------
    frames : list of LazyFrame
        The events, some files each.
    roles, bounds, facts
        As of ``Log``, of the whole log.
    weight : pl.Expr
        One number for the events of a pair.
    users, items : IdMap
    """

    frames: list[pl.LazyFrame]
    roles: dict[str, str | None]
    bounds: dict[str, Bounds]
    facts: Facts
    weight: pl.Expr
    users: IdMap
    items: IdMap

    def log(self, mine: pl.Expr, **roles: str | None) -> Log:
        """Some of the events, in the order of the whole log; perhaps with other roles."""
        frame = pl.concat([one.filter(mine) for one in self.frames])
        log = Log(frame, bounds=self.bounds, **{**self.roles, **roles})  # type: ignore[arg-type]
        log.__dict__["facts"] = self.facts  # of the whole log: its newest event is what ages are counted from
        return log

    def ids(self, side: int) -> tuple[IdMap, IdMap]:
        """Those of the rows and of the columns: of the matrix for side 0, of the transposed one for side 1."""
        return (self.users, self.items) if side == 0 else (self.items, self.users)


def of_range(rows: IdMap, column: str, begin: int, end: int) -> pl.Expr:
    """Whether an event is of one of the rows ``begin`` to ``end``."""
    as_text = rows.dtype in (pl.Categorical, pl.Enum)
    kind = pl.String if as_text else rows.dtype
    ordered = pl.col(column).cast(pl.String) if as_text else pl.col(column)
    return ordered.is_between(pl.lit(rows.ids[begin], dtype=kind), pl.lit(rows.ids[end - 1], dtype=kind))


def cuts(counts: NDArray[np.int64], parts: int | None = None) -> NDArray[np.int64]:
    """Where blocks of rows begin and end, about as much work each: (n_blocks + 1,) int64.

    The blocks depend on the data alone; workers have consecutive ones.
    """
    n = len(counts)
    if parts is None:
        parts = min(_MOST_BLOCKS, max(_BLOCKS, int(counts.sum()) // _PER_BLOCK))
    work = np.cumsum(counts + _ROW)
    ideal = np.arange(1, parts) * (work[-1] / parts)
    room = _LEEWAY * work[-1] / parts
    least, most = np.searchsorted(work, ideal - room), np.searchsorted(work, ideal + room)
    at = [_roundest(int(low), int(high)) for low, high in zip(least, most, strict=True)]
    return np.unique(np.concatenate([[0], at, [n]])).astype(np.int64)


def _roundest(low: int, high: int) -> int:
    """The number from low to high that a power of two as large as can be divides: ``als_sweep`` likes parts so."""
    bit = ((max(low, 1) - 1) ^ high).bit_length()
    return high >> (bit - 1) << (bit - 1) if bit else high


def shard(of: Description, side: int, begin: int, end: int) -> CSR:
    """Rows ``begin`` to ``end`` of the matrix (side 0) or of the transposed one (side 1), with all columns.

    Raises
    ------
    DataError
        A weight is not finite and positive, or the log has changed since its ids were read.
    """
    rows, columns = of.ids(side)
    if begin == end:
        return CSR(np.zeros(1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32), len(columns))
    names = [of.roles["user"], of.roles["item"]]
    own, other = (str(name) for name in (names if side == 0 else names[::-1]))
    log = of.log(of_range(rows, own, begin, end), user=own, item=other)
    found_rows, found_columns, matrix = log.aggregated(of.weight)
    at = columns.rows(found_columns.ids)
    if len(found_rows) != end - begin or not (rows.rows(found_rows.ids) == np.arange(begin, end)).all() or at.min() < 0:
        raise DataError(f"column {own!r}: other ids than a moment ago; the log has changed: read it again")
    Interactions(found_rows, found_columns, matrix)  # looks at the weights
    return CSR(matrix.indptr, at[matrix.indices], matrix.values, len(columns))
