"""Histories of users: what they had, how much of it, and in which order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from cofactor.checks import warn
from cofactor.data.interactions import Interactions
from cofactor.data.sessions import Sessions
from cofactor.data.tables import TableLike, read_table
from cofactor.errors import DataError
from cofactor.kernels.csr import CSR, offsets

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import ArrayLike, NDArray

    from cofactor.data.ids import IdMap
    from cofactor.data.user_items import UserItems

__all__ = ["Histories", "event_times", "event_weights", "read_histories"]


@dataclass(frozen=True, slots=True, eq=False)
class Histories(CSR):
    """Users in rows, items in columns, weights as values; and where in its row each item stood last.

    Parameters
    ----------
    positions : (nnz,) int32
        The place of the item's last event among the events of its user, from 1, the oldest.
    """

    positions: NDArray[np.int32]

    def take(self, rows: ArrayLike) -> Histories:
        """The given rows, in the given order."""
        rows = np.asarray(rows, np.int64)
        some = CSR.take(self, rows)
        where = CSR(self.indptr, self.positions, self.values, self.n_columns)
        return Histories(some.indptr, some.indices, some.values, some.n_columns, CSR.take(where, rows).indices)

    @classmethod
    def stacked(cls, parts: Iterable[Histories], n_columns: int, most: int) -> Histories:
        """The rows of all parts, one after the other: at most ``most`` entries. One part is held at a time."""
        indices, positions, values = np.empty(most, np.int32), np.empty(most, np.int32), np.empty(most, np.float32)
        counts, end = [np.zeros(0, np.int64)], 0
        for part in parts:
            begin, end = end, end + part.nnz
            indices[begin:end], positions[begin:end], values[begin:end] = part.indices, part.positions, part.values
            counts.append(np.diff(part.indptr))
        for array in (indices, positions, values):
            array.resize(end, refcheck=False)  # gives memory back where it is, without a copy
        return cls(offsets(np.concatenate(counts)), indices, values, n_columns, positions)

    @classmethod
    def of(cls, interactions: UserItems, positions: NDArray[np.int32]) -> Histories:
        """The histories of interactions; ``positions`` are those of ``Sessions.with_last_positions``."""
        x = interactions.user_items
        return cls(x.indptr, x.indices, x.values, x.n_columns, positions)


def read_histories(
    histories: TableLike | Interactions, items: IdMap, *, ordered: bool = False
) -> tuple[pl.Series, CSR | Histories]:
    """Users in order of appearance and their histories over the items of a model; ``Histories`` where ``ordered``.

    The events of a user are in the order of the column ``time`` where there is one (equal times in the order of rows),
    else of the rows; of Interactions, as ``Sessions.with_last_positions`` says. Items that are not in ``items`` take no
    place.

    Raises
    ------
    DataError
        A column is missing, the table is empty, an id is null, a weight is no positive number; with ``ordered`` a time
        is null, or neither a time nor a number.
    """
    table = histories.to_frame() if isinstance(histories, Interactions) else histories
    table = read_table(table, ("user_id", "item_id"), "histories")
    if not len(table):
        raise DataError("histories is empty; give at least one (user_id, item_id) row")
    if ordered and isinstance(histories, Interactions):
        table = table.with_columns(time=pl.Series(Sessions.with_last_positions(histories)[1]))
    time = event_times(table) if ordered else pl.lit(0)
    table = table.select("user_id", "item_id", weight=event_weights(table), time=time)
    users = table["user_id"].unique(maintain_order=True)
    table = table.join(pl.DataFrame({"user_id": users}).with_row_index("at"), on="user_id", maintain_order="left")
    rows = items.rows(table["item_id"], "histories: item_id")
    known = table.select("at", "weight", "time", row=pl.Series(rows)).filter(pl.col("row") >= 0)
    if n := len(table) - len(known):
        warn(f"histories: {n} of {len(table)} rows have items that are not in the training data; left out")
    if not ordered:
        known = known.group_by("at", "row").agg(pl.col("weight").sum())
        return users, CSR.from_pairs(known["at"], known["row"], known["weight"], (len(users), len(items)))
    known = known.sort("at", "time", maintain_order=True)
    known = known.with_columns(position=pl.int_range(1, pl.len() + 1, dtype=pl.Int32).over("at"))
    known = known.group_by("at", "row").agg(pl.col("weight").sum(), pl.col("position").max()).sort("at", "row")
    csr = CSR.from_pairs(known["at"], known["row"], known["weight"], (len(users), len(items)))
    return users, Histories(csr.indptr, csr.indices, csr.values, csr.n_columns, known["position"].to_numpy())


def event_weights(table: pl.DataFrame) -> pl.Series | pl.Expr:
    """What the rows of histories weigh, 1 without a column ``weight``; DataError unless positive and finite."""
    if "weight" not in table.columns:
        return pl.lit(1.0, pl.Float64)
    if not table.schema["weight"].is_numeric():
        raise DataError(f"histories: weight must be a column of numbers, got {table.schema['weight']}")
    weight = table["weight"].cast(pl.Float64)
    bad = ~(weight.is_finite() & (weight > 0)).fill_null(value=False)
    if bad.any():
        raise DataError(
            f"histories: {bad.sum()} weights are not positive and finite, the first rows: "
            f"{table.filter(bad).head(3).rows()}; correct them or leave the rows out"
        )
    return weight


def event_times(table: pl.DataFrame) -> pl.Series | pl.Expr:
    """What the events of a user are sorted by; DataError for a column ``time`` that has no order."""
    if "time" not in table.columns:
        return pl.lit(0)
    dtype = table.schema["time"]
    if not (dtype.is_temporal() or dtype.is_numeric()):
        raise DataError(f"histories: time must be a column of times or numbers, got {dtype}; cast it or leave it out")
    bad = table["time"].is_null() | (table["time"].is_nan() if dtype.is_float() else False)
    if bad.any():
        raise DataError(
            f"histories: {bad.sum()} null(s) or NaN in time, the first in row {bad.arg_max()}; fill them or leave the "
            "column out"
        )
    return table["time"]
