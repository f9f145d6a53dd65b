"""Implicit alternating least squares: Gramians, principal axes and sweeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cofactor.kernels import native
from cofactor.kernels.arrays import aligned_zeros, width_of
from cofactor.kernels.blas import limited
from cofactor.system.threads import resolve_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from cofactor.kernels.arrays import Float
    from cofactor.kernels.csr import CSR

__all__ = ["als_bytes", "als_sweep", "gramian", "squared_norms", "to_principal_axes", "vectors"]


def gramian(y: Float, *, threads: int | None = None) -> Float:
    """``y.T @ y`` for y (n, factors) float32, in float32 with blocked sums."""
    out = np.empty((y.shape[1], y.shape[1]), np.float32)
    native.lib.gramian(y, out, resolve_threads(threads))
    return out


def squared_norms(vectors: Float) -> Float:
    """Squared length of every row of (n, factors) float32: (n,) float32."""
    norms: Float = np.einsum("ij,ij->i", vectors, vectors)
    return norms


def vectors(n: int, factors: int, fill: Callable[[Float], object] | None = None) -> Float:
    """New vectors (n, factors) float32, laid out as sweeps want them: at a cache line, ``als_sweep`` copies others.

    Parameters
    ----------
    n, factors : int
    fill : callable, optional
        Writes the first values into an array of NumPy, (n, factors) float32; zeros without it.
    """
    new = aligned_zeros(n, factors)
    if fill is not None:
        fill(new)
    return new


def to_principal_axes(fixed: Float, *others: Float, threads: int | None = None) -> Float:
    """Rotate ``fixed`` and ``others``, all (n, factors) float32, in place so that ``fixed.T @ fixed`` is diagonal.

    Inner products between rows stay as they are. The axis along which ``fixed`` is longest comes first. Costs
    ``factors^2`` multiply-adds a row, and the eigenvectors of a Gramian. Interrupted by Ctrl-C it leaves rows that are
    not rotated.

    Returns
    -------
    (factors, factors) float32
        The diagonal Gramian of ``fixed``: "cg" and "subspace" of :func:`als_sweep` ask for it, "cholesky" is quicker
        with it where histories are shorter than vectors. Below 1e-7 of the largest value all is roundoff, and that is
        put in its place. NaN, and nothing rotated, where ``fixed`` is not finite or too large for float32.
    """
    square = gramian(fixed, threads=threads).astype(np.float64)
    rotation, diagonal = principal_axes(square)
    if rotation is not None:
        for vectors in (fixed, *others):
            native.lib.rotate(vectors, rotation, resolve_threads(threads))
    return diagonal


def principal_axes(square: NDArray[np.float64]) -> tuple[Float | None, Float]:
    """The rotation that makes a Gramian (factors, factors) diagonal, and that diagonal; see :func:`to_principal_axes`.

    Returns
    -------
    rotation : (factors, factors) float32, or None
        None where the Gramian is not finite.
    diagonal : (factors, factors) float32
    """
    if not np.isfinite(square).all():
        return None, np.diag(np.full(len(square), np.nan, np.float32))
    with limited(1):  # with OpenBLAS the same whatever the number of threads, and no slower
        values, axes = np.linalg.eigh(square)
    rotation = np.ascontiguousarray(axes[:, ::-1], np.float32)
    return rotation, np.diag(np.maximum(values[::-1], 1e-7 * values[-1])).astype(np.float32)


def rotate(vectors: Float, rotation: Float, *, threads: int | None = None) -> None:
    """Multiply vectors (n, factors) float32 by a rotation (factors, factors), in place."""
    native.lib.rotate(vectors, rotation, resolve_threads(threads))


def als_bytes(n_rows: int, factors: int, *, gather: str = "float32", threads: int | None = None) -> int:
    """Memory that sweeps over sides of at most ``n_rows`` take beside vectors and histories."""
    threads, padded = resolve_threads(threads), width_of(factors)
    narrow = 0 if gather == "float32" else 2 * (padded + 16) * n_rows
    copy = narrow if padded == factors else 4 * padded * n_rows
    # The Gramian, its eigenvectors, partial sums over slices (or of a long history), every thread's system.
    slices = min(64 if factors <= 256 else 16, n_rows // 2048 + 1)
    squares = 4 * padded**2 * (12 + 4 * threads + max(17, slices))
    return copy + squares + 2**23 * threads


def als_sweep(
    history: CSR,
    solved: Float,
    fixed: Float | Sequence[Float],
    fixed_gramian: Float,
    *,
    alpha: float,
    unobserved_weight: float,
    regularization: float,
    regularization_exponent: float,
    solver: str,
    cg_steps: int = 3,
    cg_tolerance: float = 1e-7,
    block_size: int = 32,
    gather: str = "float32",
    threads: int | None = None,
) -> tuple[float, int]:
    """Improve every row of ``solved`` (n_rows, factors) in place with ``fixed`` (n_fixed, factors) held.

    ``fixed`` may lie in parts, in the order of their rows. Those that begin at cache lines are read where they are;
    best they begin at rows whose numbers are multiples of a large power of two.

    The solvers "cg" and "subspace" want both sides as :func:`to_principal_axes` leaves them, and the Gramian that it
    returns; "cholesky" needs no rotated ``solved``. With "cg" a row is done after ``cg_steps``, or as soon as a step
    lowers its loss by less than ``cg_tolerance``² of what its vector explains (the sum of its weights less the loss):
    about that relative error in the norm of its system. Below the roundoff of float32 there is nothing left to improve.
    With ``gather="bfloat16"`` "cg" reads the vectors of the histories from a copy in 16 bits, rounded to the nearest,
    and computes in float32 all the same: half the bytes, and the loss is that of the copy.

    Returns
    -------
    loss : float
        Summed over rows: observed and unobserved squares and the regularization of ``solved``.
    failed_row : int
        A row whose system was not positive definite (``solved`` is then useless), or -1.
    """
    parts = [fixed] if isinstance(fixed, np.ndarray) else list(fixed)
    return native.lib.als_sweep(
        history.indptr, history.indices, history.values, solved, parts, fixed_gramian,
        alpha, unobserved_weight, regularization, regularization_exponent,
        solver, cg_steps, cg_tolerance, block_size, gather, resolve_threads(threads),
    )  # fmt: skip
