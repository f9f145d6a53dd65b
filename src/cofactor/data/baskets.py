"""Event logs as baskets: what each user took together, in the order of time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from cofactor.errors import DataError
from cofactor.kernels.csr import CSR, offsets

if TYPE_CHECKING:
    from typing import Self

    from numpy.typing import NDArray

    from cofactor.data.ids import IdMap
    from cofactor.data.interactions import Interactions

__all__ = ["Baskets"]

_DAY = 86_400e6  # microseconds


@dataclass(frozen=True, eq=False, repr=False)
class Baskets:
    """Baskets of all users, each user's in the order of time.

    Parameters
    ----------
    items : CSR (n_baskets, n_items)
        What is in each basket; all values are 1, however often an item was taken.
    users : (n_baskets,) int32
        The row of the user, ascending.
    ages : (n_baskets,) float64
        Days from the basket's newest event to the newest event of all baskets; descending for each user.
    newest : float
        When age 0 is, in days since 1970.
    """

    items: CSR
    users: NDArray[np.int32]
    ages: NDArray[np.float64]
    newest: float

    @classmethod
    def of(cls, interactions: Interactions) -> Self:
        """The baskets of the events that interactions were made of, over the rows of their users and items.

        A basket is a session of a user, or, where the events have no ``session`` role, all that a user took on a day
        (UTC). Events of users or items that are not among the interactions (any more) are left out. O(n log n).

        Raises
        ------
        DataError
            The interactions have no events, or these have no times.
        """
        events = interactions.events
        if events is None or events.time is None:
            raise DataError("baskets need events with times; make the interactions of read_events(..., time=...)")
        basket = pl.col(events.time).dt.date() if events.session is None else pl.col(events.session)
        columns = {"user": pl.col(events.user), "item": pl.col(events.item)}
        table = events.frame.select(**columns, basket=basket, time=pl.col(events.time).dt.timestamp("us")).collect()
        users, items = (pl.Series(ids.rows(table[name])) for ids, name in _roles(interactions))
        table = table.with_columns(user=users, item=items).filter(pl.col("user") >= 0, pl.col("item") >= 0)
        baskets = table.group_by("user", "basket").agg(pl.col("time").max()).sort("user", "time", "basket")
        baskets = baskets.with_row_index("at")
        table = table.join(baskets.select("at", "user", "basket"), on=["user", "basket"], nulls_equal=True)
        pairs = table.select("at", "item").unique().sort("at", "item")
        indptr = offsets(np.bincount(pairs["at"], minlength=len(baskets)))
        csr = CSR(indptr, pairs["item"].to_numpy(), np.ones(len(pairs), np.float32), interactions.n_items)
        times = baskets["time"].to_numpy()
        newest = times.max(initial=0)
        return cls(csr, baskets["user"].to_numpy(), (newest - times) / _DAY, float(newest / _DAY))

    @property
    def n_baskets(self) -> int:
        """Number of baskets."""
        return len(self.users)

    def before(self, age: float) -> Self:
        """The baskets older than an age in days, as they were seen then: ages count from there."""
        old = np.flatnonzero(self.ages > age)
        return type(self)(self.items.take(old), self.users[old], self.ages[old] - age, self.newest - age)

    def weighed(self, weights: NDArray[np.floating], n_users: int) -> CSR:
        """Weights of baskets (n_baskets,) added up for every user and item: (n_users, n_items), float64 sums."""
        n = self.items.n_columns
        basket = self.items.row_index()
        keys = self.users[basket].astype(np.int64) * n + self.items.indices
        pairs, at = np.unique(keys, return_inverse=True)
        values = np.bincount(at, np.asarray(weights, np.float64)[basket], minlength=len(pairs))
        rows, columns = np.divmod(pairs, n)
        indptr = offsets(np.bincount(rows, minlength=n_users))
        return CSR(indptr, columns.astype(np.int32), values.astype(np.float32), n)

    def __repr__(self) -> str:
        return f"Baskets({self.n_baskets:,} baskets, {self.items.nnz:,} items in them)"


def _roles(x: Interactions) -> tuple[tuple[IdMap, str], tuple[IdMap, str]]:
    return (x.users, "user"), (x.items, "item")
