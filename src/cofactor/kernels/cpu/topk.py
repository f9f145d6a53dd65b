"""Exact top-k: by inner products of vectors, by sparse histories times weights, and of given scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cofactor.errors import ParameterError
from cofactor.kernels import native
from cofactor.kernels.filters import NO_FILTERS, Filters
from cofactor.system.threads import resolve_threads

if TYPE_CHECKING:
    from cofactor.kernels.arrays import Float, TopK
    from cofactor.kernels.csr import CSR

__all__ = ["linear_top_k", "select_top_k", "top_k"]


def top_k(
    queries: Float,
    items: Float,
    k: int,
    *,
    bias: Float | None = None,
    filters: Filters = NO_FILTERS,
    threads: int | None = None,
) -> TopK:
    """The k best items of every query by ``queries @ items.T + bias``.

    Parameters
    ----------
    queries : (n, factors) float32
    items : (n_items, factors) float32
    k : int
        Cut to the number of items to choose from.
    bias : (n_items,) float32, optional
    filters : Filters

    Returns
    -------
    TopK
        Ties by item row.
    """
    n, n_items = len(queries), len(items)
    top = filters.lists(n, k, n_items)
    native.lib.top_k(queries, items, bias, *filters.arrays(n, n_items), *top, resolve_threads(threads))
    return top


def linear_top_k(
    histories: CSR,
    weights: CSR | Float,
    k: int,
    *,
    filters: Filters = NO_FILTERS,
    threads: int | None = None,
) -> TopK:
    """The k best columns of every row of ``histories @ weights``.

    Parameters
    ----------
    histories : CSR (n, m)
    weights : CSR (m, n_items) or (m, n_items) float32
        Of sparse weights only the columns that a history reaches can come back, whatever their score; the columns of
        a row may be in any order. Of dense ones all, but none for a history that is empty.
    k : int
        Cut to the number of items to choose from.
    filters : Filters

    Returns
    -------
    TopK
        Ties by item row. A score that is no number counts as minus infinity.

    Raises
    ------
    ParameterError
        The shapes do not fit.
    """
    m, n_items = weights.shape
    if histories.n_columns != m:
        raise ParameterError(f"histories have {histories.n_columns} columns, but there are {m} rows of weights")
    filtered = filters.arrays(histories.n_rows, n_items)
    top = filters.lists(histories.n_rows, k, n_items)
    threads = resolve_threads(threads)
    given = (histories.indptr, histories.indices, histories.values)
    if isinstance(weights, np.ndarray):
        native.lib.linear_top_k_dense(*given, weights, *filtered, *top, threads)
    else:
        parts = (weights.indptr, weights.indices, weights.values)
        native.lib.linear_top_k_sparse(*given, *parts, n_items, *filtered, *top, threads)
    return top


def select_top_k(
    scores: Float,
    k: int,
    *,
    filters: Filters = NO_FILTERS,
    threads: int | None = None,
) -> TopK:
    """The k best columns of every row of ``scores``, (n, n_items) float32, NaN and minus infinity left out.

    Filters and result are those of :func:`linear_top_k`.
    """
    n, n_items = scores.shape
    top = filters.lists(n, k, n_items)
    native.lib.select_top_k(scores, *filters.arrays(n, n_items), *top, resolve_threads(threads))
    return top
