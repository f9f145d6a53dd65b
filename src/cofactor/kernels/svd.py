"""The largest singular values of a sparse matrix and their vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cofactor.kernels import blas

if TYPE_CHECKING:
    from collections.abc import Callable

    from cofactor.kernels.arrays import Float
    from cofactor.kernels.cpu import Kernels
    from cofactor.kernels.csr import CSR


__all__ = ["SVD", "svd_bytes", "truncated_svd"]

_OVERSAMPLED = 16  # vectors beyond those asked for, by a quarter of them at least
_MOST = 60  # iterations
_DEPENDENT = 1e-3  # smallest eigenvalue, of largest 1 to the number of rows, that float32 products tell from 0


class SVD(NamedTuple):
    """``x`` is about ``left @ diag(values) @ right.T``; largest values first, vectors in columns."""

    left: Float
    values: Float
    right: Float


def truncated_svd(
    kernels: Kernels,
    x: CSR,
    k: int,
    *,
    seed: int = 0,
    tolerance: float = 1e-3,
    threads: int | None = None,
    on_iteration: Callable[[float], object] | None = None,
) -> SVD:
    """The k largest singular values of a sparse matrix by shifted subspace iteration.

    Feng, Xie, Song, Yu & Tang 2024, "Algorithm 1061: dashSVD": a random subspace is multiplied by ``x'x - shift`` and
    made orthonormal again, the shift following half the smallest value found. O(k nnz + k^2 (n + m)) an iteration.
    Ends when no value among the first k moved by more than ``tolerance`` of itself.

    Parameters
    ----------
    kernels : Kernels
        Of the device that multiplies the matrix.
    x : CSR (n, m)
    k : int
        Cut to the smaller side.
    seed : int
    tolerance : float
    threads : int, optional
    on_iteration : callable, optional
        Called with the largest relative move.

    Returns
    -------
    SVD
        left (n, k), values (k,), right (m, k), float32. Every right vector's largest entry by magnitude is positive.
    """
    rows, by_columns = kernels.hold(x), kernels.hold(x.transposed())
    k = min(k, *x.shape)
    width = _width(x, k)
    with blas.limited(1):  # strips of products share the threads, so that their number changes no digit
        q = np.random.default_rng(seed).standard_normal((width, x.n_columns), np.float32)  # vectors in rows
        q, _ = _orthonormal(q, threads)
        shift, before = np.float32(0), np.zeros(k, np.float32)
        for _ in range(_MOST):
            images = kernels.dense_product(q, rows, threads=threads)
            products = kernels.fetch(kernels.dense_product(images, by_columns, threads=threads))
            products -= shift * q
            q, squares = _orthonormal(products, threads)  # of the shifted matrix
            if squares[-1] > shift:
                shift = np.float32((squares[-1] + shift) / 2)
            values = squares[:k] + shift
            move = float((np.abs(values - before) / np.maximum(values, np.finfo(np.float32).tiny)).max(initial=0))
            before = values
            if on_iteration is not None:
                on_iteration(move)
            if move <= tolerance:
                break
        images = kernels.fetch(kernels.dense_product(q, rows, threads=threads))  # (width, n)
        rotation, values, left = np.linalg.svd(images, full_matrices=False)
        right = np.ascontiguousarray(blas.matmul(np.ascontiguousarray(rotation[:, :k].T), q, threads=threads).T)
    signs = np.sign(np.take_along_axis(right, np.abs(right).argmax(axis=0)[None], axis=0))
    signs[signs == 0] = 1
    return SVD(np.ascontiguousarray(left[:k].T * signs), values[:k], right * signs)


def svd_bytes(x: CSR, k: int) -> int:
    """Memory that :func:`truncated_svd` takes beside its argument."""
    return 4 * _width(x, min(k, *x.shape)) * 4 * sum(x.shape) + 12 * x.nnz


def _width(x: CSR, k: int) -> int:
    return min(k + max(_OVERSAMPLED, k // 4), *x.shape)


def _orthonormal(rows: Float, threads: int | None) -> tuple[Float, Float]:
    """An orthonormal basis of the rows, as rows, and the singular values of what leads back, largest first.

    By Cholesky factors of the Gram matrix, twice: a fraction of Householder's time, and as good where the rows are not
    nearly dependent; by Householder where they are.
    """
    back = np.eye(len(rows))
    basis = rows
    for _ in range(2):
        gram = blas.gram(basis, threads=threads).astype(np.float64)
        scale = np.sqrt(np.maximum(gram.diagonal(), np.finfo(np.float64).tiny))
        values = np.linalg.eigvalsh(gram / scale / scale[:, None])
        if values[0] < _DEPENDENT:
            q, triangle = np.linalg.qr(rows.T)
            return np.ascontiguousarray(q.T), np.linalg.svd(triangle, compute_uv=False)
        factor = np.linalg.cholesky(gram)
        back = back @ factor
        basis = blas.matmul(np.linalg.inv(factor).astype(np.float32), basis, threads=threads)
    return basis, np.linalg.svd(back, compute_uv=False).astype(np.float32)
