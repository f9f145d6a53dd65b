"""Places of wanted items in complete lists by inner products of vectors, which are never made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cofactor.errors import ParameterError
from cofactor.kernels import native
from cofactor.kernels.arrays import Ranks
from cofactor.kernels.filters import NO_FILTERS, Filters
from cofactor.system.threads import resolve_threads

if TYPE_CHECKING:
    from cofactor.kernels.arrays import Float
    from cofactor.kernels.csr import CSR

__all__ = ["ranks"]


def ranks(
    queries: Float,
    items: Float,
    wanted: CSR,
    *,
    filters: Filters = NO_FILTERS,
    threads: int | None = None,
) -> Ranks:
    """Where some items stand among all, in order of ``queries @ items.T``: what ``top_k`` with k = n_items would tell.

    Parameters
    ----------
    queries : (n, factors) float32
    items : (n_items, factors) float32
    wanted : CSR (n, n_items)
        The items asked about, a row for each query; values are not read.
    filters : Filters

    Returns
    -------
    Ranks
        Of the wanted items in the order of ``wanted``. Those that the filters leave out are not listed, nor are scores
        that are NaN or minus infinity.

    Raises
    ------
    ParameterError
        ``wanted`` has another shape.

    Notes
    -----
    O(n n_items factors) multiply-adds, O(nnz n_items) comparisons of ``wanted``. Memory beside the arguments and the
    result: 4 bytes for each wanted item, and a megabyte.
    """
    n, n_items = len(queries), len(items)
    if wanted.shape != (n, n_items):
        raise ParameterError(f"wanted has shape {wanted.shape}; it must be {(n, n_items)}")
    found = Ranks(np.empty(wanted.nnz, np.int32), np.empty(wanted.nnz, np.float64), np.empty(n, np.int64))
    given = (queries, items, wanted.indptr, wanted.indices)
    native.lib.ranks(*given, *filters.arrays(n, n_items), *found, resolve_threads(threads))
    return found
