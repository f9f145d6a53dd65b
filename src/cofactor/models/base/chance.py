"""What chance alone brings about in a matrix: how many of its singular vectors say anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from cofactor.kernels.arrays import Float
    from cofactor.kernels.csr import CSR

__all__ = ["above_chance"]


def above_chance(values: Float, matrix: CSR, times: float = 1.0) -> int:
    """How many singular values exceed what a matrix of independent entries of the same size would have.

    That is about the root of the mean sum of squares of a row plus that of a column (Latala 2005; Gavish & Donoho 2014
    cut at this level); 1 at least.

    Parameters
    ----------
    values : (k,) float32
        Largest first.
    matrix : CSR
        What was decomposed.
    times : float
        Where rows differ in their sums of squares chance reaches higher: how much.
    """
    squares = float(np.square(matrix.values, dtype=np.float64).sum())
    level = sum(np.sqrt(squares / max(n, 1)) for n in matrix.shape)
    return max(1, int((values > times * level).sum()))
