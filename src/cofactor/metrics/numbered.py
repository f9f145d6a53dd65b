"""Values of a column as row numbers, whatever their type."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from cofactor.data.codes import Codes, renumbered
from cofactor.data.ids import is_id_dtype

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["distinct", "numbered", "rows_among"]

_ALWAYS_DIRECT = 2**16  # widest range of integers that is addressed directly however few there are


def numbered(values: pl.Series) -> tuple[pl.Series, NDArray[np.int32]]:
    """The distinct values, ascending, and which of them each is, (len(values),) int32; nothing is null.

    O(n) for integers of a range that is not much larger than their number, and for text.
    """
    if not is_id_dtype(values.dtype) or not len(values):
        some = values.unique().sort()
        return some, rows_among(some, values)
    if values.dtype.is_integer():
        low, high = (int(v) for v in (values.min(), values.max()))  # type: ignore[arg-type]  # of integers
        if high < 2**63 and high - low < max(_ALWAYS_DIRECT, 4 * len(values)):
            return _numbered_directly(values, low, high)
    codes = Codes.of(values.name, values.dtype)
    rows, ids = codes.own(values.to_frame().select(codes.expr).to_series())
    return ids.ids.rename(values.name), rows


def distinct(values: pl.Series) -> pl.Series:
    """The distinct values in any order; quick where equal ones stand together."""
    return values.filter(values != values.shift(1, fill_value=None)).extend(values.head(1)).unique()


def _numbered_directly(values: pl.Series, low: int, high: int) -> tuple[pl.Series, NDArray[np.int32]]:
    """Of integers between two numbers that are not far from each other."""
    places = values.to_numpy()
    if low:
        places = places.astype(np.int64, copy=False) - low
    rows, present = renumbered(places, high - low + 1)
    return pl.Series(values.name, present + low).cast(values.dtype), rows


def rows_among(ids: pl.Series, values: pl.Series) -> NDArray[np.int32]:
    """Which of distinct ids each value is, (len(values),) int32; -1 for none of them, and for null."""
    name = values.name
    table = pl.DataFrame({name: ids, "row": np.arange(len(ids), dtype=np.int32)})
    found = values.to_frame().join(table, on=name, how="left", maintain_order="left")["row"]
    return found.fill_null(-1).to_numpy()
