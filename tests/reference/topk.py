"""A slow twin of ``native/topk/vectors.hpp``: every score, sorted."""

from __future__ import annotations

import numpy as np


def scores(queries, items, bias=None):
    """All scores in float64, (n_queries, n_items)."""
    out = np.asarray(queries, np.float64) @ np.asarray(items, np.float64).T
    return out if bias is None else out + np.asarray(bias, np.float64)


def top_k(queries, items, k, *, bias=None, exclude=None, allowed=None):
    """Best first, ties by item; -1 and minus infinity where nothing is left, as where a score is NaN."""
    table = scores(queries, items, bias)
    keep = np.ones(table.shape, bool)
    if allowed is not None:
        keep[:] = np.isin(np.arange(len(items)), allowed)
    if exclude is not None:
        keep[exclude.row_index(), exclude.indices] = False
    keep &= table > -np.inf
    k = min(k, len(items) if allowed is None else len(allowed))
    best_items, best_scores = np.full((len(table), k), -1, np.int32), np.full((len(table), k), -np.inf)
    for row in range(len(table)):
        candidates = np.flatnonzero(keep[row])
        best = candidates[np.lexsort((candidates, -table[row, candidates]))][:k]
        best_items[row, : len(best)], best_scores[row, : len(best)] = best, table[row, best]
    return best_items, best_scores
