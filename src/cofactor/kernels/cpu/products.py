"""Products of sparse with sparse and dense matrices, as dense ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cofactor.kernels import native
from cofactor.system.threads import resolve_threads

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cofactor.kernels.arrays import Float
    from cofactor.kernels.csr import CSR

__all__ = ["dense_product", "diagonal", "mirror_scaled", "quadratic_forms", "set_diagonal", "sparse_product"]


def sparse_product(
    a: CSR, b: CSR, *, lower: bool = False, out: Float | None = None, threads: int | None = None
) -> Float:
    """``a @ b`` as a dense matrix, (a.n_rows, b.n_columns) float32: one addition per pair of entries that meet.

    Parameters
    ----------
    a : CSR (n, m)
    b : CSR (m, p)
    lower : bool
        The product is symmetric: leave what lies above its diagonal as it is (uninitialised in a new matrix).
    out : (n, p) float32, optional
        Where the product goes; by default a new matrix.
    """
    if a.n_columns != b.n_rows:
        raise ValueError(f"a has {a.n_columns} columns and b {b.n_rows} rows")
    out = np.empty((a.n_rows, b.n_columns), np.float32) if out is None else out
    threads = resolve_threads(threads)
    native.lib.sparse_product(a.indptr, a.indices, a.values, b.indptr, b.indices, b.values, lower, out, threads)
    return out


def dense_product(d: Float, b: CSR, *, out: Float | None = None, threads: int | None = None) -> Float:
    """``d @ b.T`` for d (n, m) float32 and b (p, m) sparse, (n, p) float32; O(n nnz) in vectors."""
    out = np.empty((len(d), b.n_rows), np.float32) if out is None else out
    native.lib.dense_product(d, b.indptr, b.indices, b.values, out, resolve_threads(threads))
    return out


def quadratic_forms(k: Float, b: CSR, *, threads: int | None = None) -> NDArray[np.float64]:
    """``b[i] @ k @ b[i].T`` for every row of b (n, m); of k (m, m) float32, symmetric, the lower triangle is read."""
    out = np.empty(b.n_rows, np.float64)
    native.lib.quadratic_forms(k, b.indptr, b.indices, b.values, out, resolve_threads(threads))
    return out


def mirror_scaled(p: Float, scale: Float, diagonal: float, *, threads: int | None = None) -> None:
    """Complete a symmetric p (n, n) from its lower triangle, in place, scale its columns and set its diagonal."""
    native.lib.mirror_scaled(p, scale, diagonal, resolve_threads(threads))


def diagonal(a: Float) -> Float:
    """The diagonal of a square matrix, (n,) float32, as a copy."""
    return a.diagonal().copy()


def set_diagonal(a: Float, values: NDArray[np.floating]) -> None:
    """Put others in the place of the diagonal of a square matrix (n, n) float32, C-contiguous."""
    if len(values) != len(a):
        raise ValueError("values must have one number per row")
    a.reshape(-1)[:: len(a) + 1] = values
