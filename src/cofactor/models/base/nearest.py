"""Items, or users, whose vectors point the same way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cofactor.kernels.arrays import TopK
from cofactor.kernels.csr import CSR
from cofactor.kernels.filters import Filters

if TYPE_CHECKING:
    from cofactor.kernels.arrays import Float, Rows
    from cofactor.kernels.cpu import Kernels

__all__ = ["most_similar"]


def most_similar(kernels: Kernels, vectors: Float, rows: Rows, k: int, threads: int | None) -> TopK:
    """Cosine neighbours of some rows of ``vectors``, themselves left out; zero vectors are similar to nothing."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = (vectors / np.where(norms > 0, norms, 1)).astype(np.float32, copy=False)
    allowed = None if (norms > 0).all() else np.flatnonzero(norms > 0).astype(np.int32)
    if allowed is not None and not len(allowed):
        return TopK.empty(len(rows), 1)
    filters = Filters(CSR.one_each(rows, len(vectors)), allowed)
    top = kernels.top_k(unit[rows], unit, k, filters=filters, threads=threads)
    top.rows[norms[rows, 0] == 0] = -1
    return top
