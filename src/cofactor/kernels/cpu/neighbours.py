"""The nearest rows of sparse matrices."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cofactor.errors import ParameterError
from cofactor.kernels import native
from cofactor.kernels.csr import CSR, offsets
from cofactor.kernels.filters import NO_FILTERS
from cofactor.system.threads import resolve_threads

if TYPE_CHECKING:
    from cofactor.kernels.arguments import Similarity
    from cofactor.kernels.arrays import Float, Rows, TopK

__all__ = ["neighbours", "product_neighbours"]


def neighbours(
    a: CSR,
    k: int,
    similarity: Similarity,
    *,
    weights: Float | None = None,
    binary: bool = False,
    threads: int | None = None,
) -> CSR:
    """The k most similar other rows of every row of ``a``, by ``sum_u weights[u] a[i, u] a[j, u]``.

    Takes the sum over columns of n_u (n_u - 1) / 2 additions, n_u being the column's entries, n k entries of memory for
    the result and 64 MiB (or two rows of n a thread) for sums. Equal for any number of threads.

    Parameters
    ----------
    a : CSR (n, m)
    k : int
    similarity : Similarity
        Between rows.
    weights : (m,) float32, optional
        By default 1.
    binary : bool
        Take 1 for every value, which saves reading them.

    Returns
    -------
    CSR (n, n)
        Columns ascending. Only positive similarities; ties at the k-th place go to the lower row.
    """
    weights = np.ones(a.n_columns, np.float32) if weights is None else weights
    top = NO_FILTERS.lists(a.n_rows, k, max(a.n_rows - 1, 1))
    values = None if binary else a.values
    formula = similarity.arrays(a.n_rows, a.n_rows)
    native.lib.gram_neighbours(a.indptr, a.indices, values, weights, *formula, *top, resolve_threads(threads))
    return _compressed(top, a.n_rows)


def product_neighbours(
    a: CSR,
    b: CSR,
    k: int,
    similarity: Similarity,
    *,
    groups: tuple[Rows, Rows] | None = None,
    threads: int | None = None,
) -> CSR:
    """The k best columns of every row of ``a @ b``, by similarity.

    Takes a multiply-add for every entry of ``a`` and entry of its row of ``b``; memory for the result and a row of sums
    a thread. Equal for any number of threads.

    Parameters
    ----------
    a : CSR (n, m)
    b : CSR (m, n_columns)
    k : int
    similarity : Similarity
        Of the rows of ``a`` with the columns of ``b``.
    groups : (n,) int32 and (n_columns,) int32, optional
        Rows and columns of equal numbers do not become neighbours.

    Returns
    -------
    CSR (n, n_columns)
        Columns ascending. Only positive similarities; ties at the k-th place go to the lower column.
    """
    if a.n_columns != b.n_rows:
        raise ParameterError(f"a has {a.n_columns} columns, but b has {b.n_rows} rows")
    top = NO_FILTERS.lists(a.n_rows, k, b.n_columns)
    row_groups, column_groups = groups or (None, None)
    native.lib.product_neighbours(
        a.indptr, a.indices, a.values, b.indptr, b.indices, b.values, *similarity.arrays(a.n_rows, b.n_columns),
        row_groups, column_groups, top.rows, top.scores, resolve_threads(threads),
    )  # fmt: skip
    return _compressed(top, b.n_columns)


def _compressed(top: TopK, n_columns: int) -> CSR:
    """Lists as sparse rows."""
    filled = top.rows >= 0
    return CSR(offsets(filled.sum(axis=1)), top.rows[filled], top.scores[filled], n_columns)
