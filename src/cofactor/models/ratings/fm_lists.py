"""Lists of the best rated items by the samples of a factorization machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cofactor.kernels.arrays import TopK
from cofactor.models.base.batches import top_k_in_batches

if TYPE_CHECKING:
    from collections.abc import Callable

    from cofactor.kernels.arrays import Float, Rows
    from cofactor.kernels.cpu import Kernels
    from cofactor.kernels.filters import Filters
    from cofactor.models.ratings.fm_samples import Kept

__all__ = ["lists_of_products", "lists_of_ratings"]

_USERS = 1024  # whose lists are made at once


def lists_of_products(
    kernels: Kernels,
    kept: Kept,
    rows_of: Callable[[Rows], Float],
    n: int,
    k: int,
    *,
    filters: Filters,
    threads: int | None,
) -> TopK:
    """By the mean over samples, which is one inner product: a user's row with 1 for each bias, and the item's row.

    ``rows_of`` gives the rows of some of 0 ... n - 1, (len(at), n_samples x n_coordinates).
    """
    n_samples, c = kept.means.shape
    parts = []
    for begin in range(0, n, _USERS):
        at = np.arange(begin, min(n, begin + _USERS), dtype=np.int32)
        rows = rows_of(at)
        above = rows[:, ::c].mean(axis=1, dtype=np.float64) + kept.offsets.mean()
        queries = rows / np.float32(n_samples)
        queries[:, ::c] = 1 / n_samples
        top = kernels.top_k(queries, kept.items, k, filters=filters.take(at), threads=threads)
        parts.append(TopK(top.rows, top.scores + above[:, None].astype(np.float32)))
    return TopK.stacked(parts)


def lists_of_ratings(
    kernels: Kernels,
    kept: Kept,
    rows_of: Callable[[Rows], Float],
    n: int,
    k: int,
    *,
    rate: Callable[[Rows, Rows, Float], Float],
    filters: Filters,
    threads: int | None,
) -> TopK:
    """By ratings that are no inner products; ``rate`` rates (place in the rows, item) pairs."""
    n_items = len(kept.items)
    every = np.arange(n_items, dtype=np.int32)

    def scores(at: Rows) -> Float:
        rows = np.ascontiguousarray(rows_of(at))
        users = np.repeat(np.arange(len(rows), dtype=np.int32), n_items)
        return rate(users, np.tile(every, len(rows)), rows).reshape(len(rows), n_items)

    width = 6 * n_items + 2 * kept.items.shape[1]
    return top_k_in_batches(scores, n, width, k, kernels=kernels, filters=filters, threads=threads)
