"""A part of the training pairs that a model is not trained on, to choose by."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cofactor.kernels.csr import CSR, offsets

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cofactor.kernels.arrays import TopK

__all__ = ["entries", "mean_ndcg", "some_entries"]


def some_entries(matrix: CSR, share: float, n_users: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """About a ``share`` of the entries of at most ``n_users`` rows, (nnz,) bool; every row keeps one at least."""
    lengths = np.diff(matrix.indptr)
    filled = np.flatnonzero(lengths)
    out = rng.random(matrix.nnz) < share
    if len(filled) > n_users:
        chosen = np.zeros(matrix.n_rows, np.bool_)
        chosen[rng.choice(filled, n_users, replace=False)] = True
        out &= np.repeat(chosen, lengths)
    out[(matrix.indptr[:-1] + rng.random(matrix.n_rows) * lengths).astype(np.int64)[filled]] = False
    return out


def entries(matrix: CSR, which: NDArray[np.bool_]) -> CSR:
    """Only these entries, (nnz,) bool, of a matrix."""
    counts = np.bincount(matrix.row_index()[which], minlength=matrix.n_rows)
    return CSR(offsets(counts), matrix.indices[which], matrix.values[which], matrix.n_columns)


def mean_ndcg(top: TopK, wanted: CSR) -> float:
    """NDCG of lists, one for each row of ``wanted``, none of which is empty; the mean over rows."""
    places = top.rows.shape[1]
    discounts = 1 / np.log2(np.arange(2, places + 2))
    rows = np.repeat(np.arange(len(top.rows)), places)
    hits = wanted.lookup(rows, top.rows.ravel()).reshape(top.rows.shape) > 0
    ideal = np.cumsum(discounts)[np.minimum(np.diff(wanted.indptr), places) - 1]
    return float(((hits @ discounts) / ideal).mean())
