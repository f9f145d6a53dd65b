"""Reading and checking the tables that users hand in: histories, pairs, test sets, recommendations, candidates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import polars as pl

from cofactor.checks import shown
from cofactor.data.ids import check_exact
from cofactor.errors import DataError
from cofactor.system.forks import require_living_threads

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["TableLike", "cast_ids", "check_lists", "check_ranks", "pairs_of", "read_table"]

_IDS = ("user_id", "item_id")

TableLike: TypeAlias = Any
"""A polars DataFrame or LazyFrame, or what ``polars.DataFrame`` accepts (pandas, Arrow, dict ...)."""


def read_table(table: TableLike, columns: Sequence[str], what: str) -> pl.DataFrame:
    """Take over a table of any library, after a check that the columns are there and hold no null.

    Parameters
    ----------
    table : TableLike
    columns : sequence of str
        Columns that must be there.
    what : str
        What the table is called in an error.

    Raises
    ------
    DataError
        Not a table, a column is missing, a cell of these columns is null, or ids are floats beyond what these hold.
    """
    require_living_threads()
    wanted = f"a table with {', '.join(columns)}" if columns else "a table"
    unnamed = isinstance(table, np.ndarray) and table.dtype.names is None
    if table is None or unnamed or isinstance(table, str | bytes | pl.Series):  # which polars would make tables of
        raise DataError(f"{what}: {wanted} is expected, got {shown(table)}")
    try:
        table = table.collect() if isinstance(table, pl.LazyFrame) else table
        frame = table if isinstance(table, pl.DataFrame) else pl.DataFrame(table)
    except (TypeError, ValueError) as error:
        raise DataError(f"{what}: {wanted} is expected, got {type(table).__name__}") from error
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(
            f"{what}: the table could not be read: {(str(error) or repr(error)).splitlines()[0]}"
        ) from error
    if not frame.width:
        raise DataError(f"{what}: {wanted} is expected, got {type(table).__name__} without columns")
    if missing := [column for column in columns if column not in frame.columns]:
        raise DataError(f"{what}: no column {', '.join(missing)}; the columns are {', '.join(frame.columns)}")
    for column in columns:
        if n_null := frame[column].null_count():
            first = frame[column].is_null().arg_max()
            raise DataError(f"{what}: {n_null} null(s) in {column}, the first in row {first}; drop or fill them")
        if column in _IDS:
            check_exact(frame[column], f"{what}: {column}")
    return frame


def pairs_of(test: TableLike, what: str = "test") -> pl.DataFrame:
    """Take the columns ``user_id`` and ``item_id`` of an Events, an Interactions or a table.

    Raises
    ------
    DataError
        As ``read_table``, or there is no row.
    """
    for method in ("pairs", "to_frame"):
        if hasattr(test, method):
            test = getattr(test, method)()
            break
    pairs = read_table(test, ["user_id", "item_id"], what).select("user_id", "item_id")
    if pairs.is_empty():
        raise DataError(f"{what}: there are no rows, so there is nothing to measure")
    return pairs


def check_ranks(table: pl.DataFrame) -> None:
    """Check that ranks are whole numbers from 1; DataError with the number of offending rows and the first of them."""
    rank = table["rank"]
    if not rank.dtype.is_integer():
        raise DataError(f"recommendations: rank must be of an integer type, got {rank.dtype}; cast it first")
    if n_low := int((rank < 1).sum()):
        row = table.row(int((rank < 1).arg_max() or 0), named=True)
        raise DataError(
            f"recommendations: {n_low} rank(s) below 1 (ranks count from 1), "
            f"the first: user {row['user_id']!r}, item {row['item_id']!r}, rank {row['rank']}"
        )


def check_lists(table: pl.DataFrame) -> None:
    """Check that every user has each item and each rank at most once, and that ranks count from 1.

    Ranks may leave gaps, as after rows were filtered out: an empty place is a miss.

    Raises
    ------
    DataError
        With the number of offending rows and the first of them.
    """
    check_ranks(table)
    for column, told in [("item_id", "item"), ("rank", "rank")]:
        if (twice := _repeated(table, "user_id", column)) is not None:
            n_repeated, (user, value) = twice
            raise DataError(
                f"recommendations: {n_repeated} (user, {told}) pair(s) occur more than once, "
                f"the first: user {user!r}, {told} {value!r}"
            )


def cast_ids(ids: pl.Series, dtype: pl.DataType, what: str) -> pl.Series:
    """Ids in another type of the same kind; null where the value does not fit, as nothing can match it.

    Raises
    ------
    DataError
        The two types cannot hold equal ids, such as text and integers.
    """
    if ids.dtype == dtype:
        return ids
    if (ids.dtype.is_integer() and dtype.is_integer()) or (_is_text(ids.dtype) and _is_text(dtype)):
        return ids.cast(dtype, strict=False)
    example = f", for example {ids[0]!r}" if len(ids) else ""
    raise DataError(
        f"{what}: {ids.name} is {dtype} here and {ids.dtype} in test{example}; cast one to the other's type"
    )


def _is_text(dtype: pl.DataType) -> bool:
    return dtype in (pl.String, pl.Categorical, pl.Enum)


def _repeated(table: pl.DataFrame, *columns: str) -> tuple[int, tuple[Any, ...]] | None:
    """Count the key combinations that occur more than once, and give the first; None if there is none.

    Sorted 64-bit hashes clear a table four times faster than grouping does; only a clash is looked into.
    """
    hashes = np.sort(table.select(pl.struct(columns).hash()).to_series().to_numpy())
    if not (hashes[1:] == hashes[:-1]).any():
        return None
    counts = table.group_by(columns, maintain_order=True).len().filter(pl.col("len") > 1)
    return (counts.height, counts.row(0)[:-1]) if counts.height else None
