"""A slow twin of ``native/topk/linear.hpp`` and ``native/topk/select.hpp``: every score, sorted."""

from __future__ import annotations

import numpy as np

from cofactor.kernels.csr import CSR


def scores(histories, weights):
    """All scores in float64; minus infinity where a history reaches nothing."""
    h = histories.to_scipy().toarray().astype(np.float64)
    touched = (histories.to_scipy() != 0).toarray()
    touched[histories.row_index(), histories.indices] = True
    if isinstance(weights, CSR):
        w, entries = np.zeros(weights.shape), np.zeros(weights.shape)
        w[weights.row_index(), weights.indices] = weights.values
        entries[weights.row_index(), weights.indices] = 1
    else:
        w, entries = np.asarray(weights, np.float64), np.ones(weights.shape)
    return np.where(touched.astype(float) @ entries > 0, h @ w, -np.inf)


def select_top_k(table, k, *, exclude=None, allowed=None):
    """Best first, ties by item; -1 and minus infinity where nothing is left."""
    table = np.array(table, np.float64)
    n_items = table.shape[1]
    if allowed is not None:
        table[:, ~np.isin(np.arange(n_items), allowed)] = -np.inf
    if exclude is not None:
        table[exclude.row_index(), exclude.indices] = -np.inf
    table[np.isnan(table)] = -np.inf
    k = max(1, min(k, n_items if allowed is None else len(allowed)))
    rows, best = np.full((len(table), k), -1, np.int32), np.full((len(table), k), -np.inf)
    for at, row in enumerate(table):
        order = np.lexsort((np.arange(n_items), -row))[:k]
        order = order[row[order] > -np.inf]
        rows[at, : len(order)], best[at, : len(order)] = order, row[order]
    return rows, best


def linear_top_k(histories, weights, k, **filters):
    return select_top_k(scores(histories, weights), k, **filters)
