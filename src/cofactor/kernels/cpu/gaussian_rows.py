"""Rows of normal distributions: least squares with a prior, solved or drawn from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cofactor.kernels import native
from cofactor.system.threads import resolve_threads

if TYPE_CHECKING:
    from cofactor.kernels.arrays import Float
    from cofactor.kernels.csr import CSR

__all__ = ["gaussian_rows"]


def gaussian_rows(
    ratings: CSR,
    solved: Float,
    fixed: Float,
    *,
    offsets: Float,
    prior: Float,
    side: Float,
    exponent: float = 0.0,
    deviation: float = 0.0,
    seed: int = 0,
    threads: int | None = None,
) -> tuple[float, int]:
    """Solve for, or draw, every row of ``solved`` (n_rows, width) in place, with ``fixed`` (n_fixed, width) held.

    For a row with entries (k, r_k) its vector x has the density

        exp(-(sum_k (r_k - offsets_k - x . fixed_k)² + s (x' prior x - 2 x . side)) / 2 deviation²)

    with s = max(n, 1)^``exponent``: its mean solves (s prior + sum y y') x = s side + sum (r - offset) y. With a
    ``deviation`` of 0 rows become their means, else draws, which depend on ``seed`` and the number of the row only.

    Parameters
    ----------
    ratings : CSR (n_rows, n_fixed)
    solved, fixed : float32
        The width is the number of factors, padded with zeros to a multiple of 16.
    offsets : (n_fixed,) float32
    prior : (factors, factors) float32
        The precision of the prior, in units of that of a rating.
    side : (factors,) float32
        ``prior`` times the prior's mean.

    Returns
    -------
    squares : float
        Sum of (r - offset - x . y)² over all entries.
    failed_row : int
        A row whose system was not positive definite (``solved`` is then useless), or -1.
    """
    factors, width = len(side), fixed.shape[1]
    padded, padded_side = np.zeros((width, width), np.float32), np.zeros(width, np.float32)
    padded[:factors, :factors], padded_side[:factors] = prior, side
    return native.lib.gaussian_rows(
        ratings.indptr, ratings.indices, ratings.values, solved, fixed, offsets, factors, padded, padded_side,
        exponent, deviation, seed, resolve_threads(threads),
    )  # fmt: skip
