"""Places of wanted items, read off complete lists: for models that have no quicker way to tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cofactor.kernels.arrays import Ranks

if TYPE_CHECKING:
    from collections.abc import Callable

    from cofactor.kernels.arrays import Rows, TopK
    from cofactor.kernels.csr import CSR

__all__ = ["ranks_in_batches", "ranks_in_lists"]

_PLACES = 1 << 21  # of the lists of a batch: about 60 MB with what is computed of them


def ranks_in_batches(lists_of: Callable[[Rows], TopK], wanted: CSR) -> Ranks:
    """Ranks of the wanted items (n, n_items); ``lists_of`` gives the complete lists for some of 0 ... n - 1."""
    size = max(1, _PLACES // max(wanted.n_columns, 1))
    parts = [Ranks(np.empty(0, np.int32), np.empty(0), np.empty(0, np.int64))]
    for begin in range(0, wanted.n_rows, size):
        rows = np.arange(begin, min(wanted.n_rows, begin + size), dtype=np.int32)
        parts.append(ranks_in_lists(lists_of(rows), wanted.take(rows)))
    return Ranks.stacked(parts)


def ranks_in_lists(top: TopK, wanted: CSR) -> Ranks:
    """Ranks of the wanted items, (n, n_items), in lists of (n, k).

    Only neighbours of equal score are tied: a chain of models has equal scores at places that have nothing to do with
    each other.
    """
    n, k = top.rows.shape
    place = np.zeros((n, wanted.n_columns + 1), np.int32)  # the last column is for the -1 behind the end
    place[np.arange(n)[:, None], top.rows] = np.arange(1, k + 1)
    row = wanted.row_index()
    rank = place[row, wanted.indices]
    first = np.ones((n, k), np.bool_)  # of neighbours with one score
    first[:, 1:] = top.scores[:, 1:] != top.scores[:, :-1]
    starts = np.append(np.flatnonzero(first), n * k)
    listed = rank > 0
    at = np.searchsorted(starts, row[listed] * np.int64(k) + rank[listed] - 1, side="right")
    middle = np.zeros(len(rank))
    middle[listed] = (starts[at - 1] + starts[at] + 1) / 2 - row[listed] * np.int64(k)
    return Ranks(rank, middle, (top.rows >= 0).sum(axis=1))
