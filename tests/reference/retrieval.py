"""A slow twin of ``native/retrieval/pack.cpp``: what the vectors of a block reach along its mean, and across it."""

from __future__ import annotations

from itertools import pairwise

import numpy as np


def block_bounds(items, order, offsets, bias=None):
    """Least and largest part along, largest part across, largest norm, largest bias, largest size of a bias: a column
    for each block."""
    bounds = []
    for begin, end in pairwise(offsets):
        rows = order[begin:end]
        y = items[rows].astype(np.float64)
        mean = y.mean(axis=0)
        direction = mean / np.linalg.norm(mean)
        along = y @ direction
        across = np.linalg.norm(y - along[:, None] * direction, axis=1)
        own = np.zeros(len(rows)) if bias is None else bias[rows].astype(np.float64)
        norms = np.linalg.norm(y, axis=1)
        bounds.append([along.min(), along.max(), across.max(), norms.max(), own.max(), np.abs(own).max()])
    return np.array(bounds).T
