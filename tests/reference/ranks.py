"""A slow twin of ``native/topk/ranks.hpp``: every score, and the places counted one by one."""

from __future__ import annotations

import numpy as np

from reference import topk


def ranks(queries, items, wanted, *, exclude=None, allowed=None):
    """Rank and mean rank of each wanted item, 0 where it is not listed, and the length of each list."""
    table = topk.scores(queries, items)
    keep = table > -np.inf
    if allowed is not None:
        keep &= np.isin(np.arange(len(items)), allowed)
    if exclude is not None:
        keep[exclude.row_index(), exclude.indices] = False
    rank, middle = np.zeros(wanted.nnz, np.int32), np.zeros(wanted.nnz)
    for pair, (row, item) in enumerate(zip(wanted.row_index(), wanted.indices, strict=True)):
        if not keep[row, item]:
            continue
        listed, score = table[row, keep[row]], table[row, item]
        above, equal = (listed > score).sum(), np.flatnonzero(keep[row] & (table[row] == score))
        rank[pair] = 1 + above + (equal < item).sum()
        middle[pair] = above + (1 + len(equal)) / 2
    return rank, middle, keep.sum(axis=1)
