"""A slow twin of ``native/metrics/metrics.hpp``: every place looked up in the row it is for."""

from __future__ import annotations

from itertools import pairwise

import numpy as np


def list_hits(indptr, items, of, relevant_indptr, relevant):
    """Which relevant item each place holds, how many places do, and the first place of an item met before."""
    nth, repeated = np.full(len(items), -1, np.int32), -1
    for start, stop, row in zip(indptr[:-1], indptr[1:], of, strict=True):
        wanted = [] if row < 0 else relevant[relevant_indptr[row] : relevant_indptr[row + 1]].tolist()
        met = set()
        for place in range(start, stop):
            item = int(items[place])
            if item < 0:
                continue
            if item in met and repeated < 0:
                repeated = place
            if item in wanted and item not in met:
                nth[place] = wanted.index(item)
            met.add(item)
    count = [int((nth[start:stop] >= 0).sum()) for start, stop in pairwise(indptr)]
    return nth, np.array(count, np.int64), repeated
