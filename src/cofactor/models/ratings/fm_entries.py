"""Ratings as each side of a factorization machine sees them: its rows, beside the rest of each rating."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cofactor.kernels.csr import CSR, offsets
from cofactor.models.base.batches import pieces

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from cofactor.kernels.arrays import Float, Rows

__all__ = ["Entries", "add_rows"]

_PIECE = 1 << 14  # ratings whose rest is made at once: it stays in the cache


class Entries:
    """Targets, and who has them: a user, an item, and perhaps categories of context.

    Of a rating by a user and an item alone, the rest is the other side's row. Where there is context, it is made for
    each rating of the rows of all other sides: to the side that is swept every rating has a partner of its own.

    Parameters
    ----------
    targets : CSR
        Users x items.
    contexts : sequence of (nnz,) int32
        For each column of context the category of every rating, in the order of the targets.
    sizes : sequence of int
        How many categories there are of each.
    """

    def __init__(self, targets: CSR, contexts: Sequence[Rows] = (), sizes: Sequence[int] = ()) -> None:
        self.users, self.values = targets.row_index(), targets.values
        self._in_context = bool(len(contexts))
        if not self._in_context:
            self._orders: list[NDArray[np.intp] | slice] = [slice(None), np.argsort(targets.indices, kind="stable")]
            self._matrices = [targets, targets.transposed()]
            return
        self._at = [self.users, targets.indices, *contexts]
        self._orders = [slice(None), *(np.argsort(rows, kind="stable") for rows in self._at[1:])]
        every = np.arange(targets.nnz, dtype=np.int32)
        self._matrices = [
            CSR(offsets(np.bincount(rows, minlength=n)), every, targets.values[order], targets.nnz)
            for rows, n, order in zip(self._at, (*targets.shape, *sizes), self._orders, strict=True)
        ]

    @property
    def nnz(self) -> int:
        """Number of ratings."""
        return len(self.values)

    def matrix(self, side: int) -> CSR:
        """Targets, the rows of a side x the rows that :meth:`others` gives."""
        return self._matrices[side]

    def set_values(self, values: Float) -> None:
        """Take other targets, in the order of those given first."""
        self.values = values
        self._matrices = [
            matrix.with_values(values[order]) for matrix, order in zip(self._matrices, self._orders, strict=True)
        ]

    def others(self, side: int, totals: Sequence[Float]) -> Float:
        """What stands beside the rows of a side, given the totals of all sides, a bias and a vector in each row."""
        if not self._in_context:
            return totals[1 - side]
        first, *more = (other for other in range(len(totals)) if other != side)
        order = self._orders[side]
        rows = [self._at[other][order] for other in (first, *more)]
        out = np.empty((self.nnz, totals[0].shape[1]), np.float32)
        for piece in pieces(self.nnz, _PIECE):
            np.take(totals[first], rows[0][piece], axis=0, out=out[piece])
            for other, own in zip(more, rows[1:], strict=True):
                add_rows(out[piece], totals[other][own[piece]])
        return out

    def other_weights(self, side: int, of_users: Float | None) -> Float | None:
        """How much each row beside those of a side counts, where users have weights."""
        if side == 0 or of_users is None or not self._in_context:
            return None if side == 0 else of_users
        return of_users[self.users[self._orders[side]]]


def add_rows(rows: Float, more: Float) -> None:
    """Join features: rows (..., 1 + factors), a bias and a vector each, get those of others, and what both make."""
    products = np.einsum("...c,...c->...", rows[..., 1:], more[..., 1:])
    rows += more
    rows[..., 0] += products
