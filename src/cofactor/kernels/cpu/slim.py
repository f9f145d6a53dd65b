"""Elastic nets by coordinate descent, one for every column."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cofactor.kernels import native
from cofactor.kernels.csr import CSR, offsets
from cofactor.system.threads import resolve_threads

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cofactor.kernels.arrays import Float

__all__ = ["slim_columns"]


def slim_columns(
    user_items: CSR,
    item_users: CSR,
    begin: int,
    end: int,
    *,
    l1: float,
    l2: float,
    non_negative: bool,
    tolerance: float,
    iterations: int,
    gramian: Float | None = None,
    start: CSR | None = None,
    neighbours: int | None = None,
    top_n: int | None = None,
    max_active: int = 8192,
    threads: int | None = None,
) -> tuple[CSR, NDArray[np.uint8]]:
    """Columns ``begin`` to ``end`` of the weights of SLIM; :class:`cofactor.SLIM` has loss and parameters.

    Parameters
    ----------
    user_items : CSR (n_users, n_items)
        Positive values.
    item_users : CSR (n_items, n_users)
        The same, transposed.
    gramian : optional
        ``user_items.T @ user_items``, rows filled up with zeros to a multiple of 16 floats: quicker, by far where many
        items share users. Without it memory is O(nnz).
    start : CSR (n_items, n_items), optional
        Weights to start from, a row for every column of the weights.
    max_active : int
        Largest set of items to work on with ``gramian``; up to ``4 max_active^2`` bytes a thread, and 16 MiB.

    Returns
    -------
    weights : CSR (end - begin, n_items)
        A row for every column of the weights.
    status : (end - begin,) uint8
        0: within the tolerance; 1: not so after ``iterations`` sweeps; 2: more than ``max_active`` items were needed.
    """
    n, size = item_users.n_rows, end - begin
    squares = np.bincount(user_items.indices, np.square(user_items.values, dtype=np.float64), n).astype(np.float32)
    counts, status = np.zeros(size, np.int32), np.zeros(size, np.uint8)
    items, values = np.empty((size, n), np.int32), np.empty((size, n), np.float32)  # touched as far as they are filled
    native.lib.slim_columns(
        user_items.indptr, user_items.indices, user_items.values,
        item_users.indptr, item_users.indices, item_users.values, squares, gramian,
        None if start is None else start.indptr, None if start is None else start.indices,
        None if start is None else start.values,
        l1, l2, non_negative, tolerance, iterations, neighbours or 0, top_n or 0, max_active, begin,
        counts, items, values, status, resolve_threads(threads),
    )  # fmt: skip
    indptr = offsets(counts)
    at = np.arange(indptr[-1]) + np.repeat(np.arange(size) * n - indptr[:-1], counts)
    return CSR(indptr, items.ravel()[at], values.ravel()[at], n), status
