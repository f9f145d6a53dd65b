"""What the items of a history add to a score of implicit ALS."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cofactor.kernels.arrays import Float
    from cofactor.kernels.cpu import Kernels

__all__ = ["contributions", "gramian_of"]


def contributions(
    vectors: Float, confidences: Float, gramian: Float, penalty: float, item: Float
) -> NDArray[np.float64]:
    """The score of an item as a sum over the history: ``c_h y_h' (u Y'Y + Y_h' C Y_h + penalty I)^-1 y`` of each entry.

    Hu, Koren & Volinsky 2008, section 5. O(n factors^2 + factors^3).

    Parameters
    ----------
    vectors : (n, factors) float32
        Of the items of the history.
    confidences : (n,) float32
        ``alpha`` times the weights.
    gramian : (factors, factors) float32
        Of all items, times the weight of what was not observed.
    penalty : float
    item : (factors,) float32
        The vector of the item that is scored.

    Returns
    -------
    (n,) float64
    """
    y, w = vectors.astype(np.float64), confidences.astype(np.float64)
    a = gramian.astype(np.float64) + (y * w[:, None]).T @ y
    a[np.diag_indices_from(a)] += penalty
    return np.asarray(w * (y @ np.linalg.solve(a, item.astype(np.float64))))


def gramian_of(kernels: Kernels, vectors: Float, threads: int | None) -> Float:
    """``Y'Y`` of vectors (n, factors) that lie in memory."""
    return kernels.fetch(kernels.gramian(kernels.hold(vectors), threads=threads))
