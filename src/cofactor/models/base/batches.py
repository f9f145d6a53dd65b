"""Work in pieces; lists and scores of models whose scores of a few users at a time are a dense matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cofactor.kernels.arrays import Float, Rows, TopK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cofactor.kernels.cpu import Kernels
    from cofactor.kernels.filters import Filters

__all__ = ["batch_bytes", "pieces", "scores_in_batches", "top_k_in_batches"]

_FLOATS = 1 << 24  # of a batch, all its matrices together


def pieces(n: int, size: int) -> Iterator[slice]:
    """Slices of at most ``size`` that ``n`` are made of, in their order."""
    return (slice(at, at + size) for at in range(0, n, size))


def _size(width: int) -> int:
    """Rows of a batch whose matrices have ``width`` columns altogether: a multiple of what kernels take at once."""
    return max(32, min(1024, _FLOATS // max(width, 1) // 32 * 32))


def batch_bytes(width: int) -> int:
    """Memory that a batch takes."""
    return 4 * width * _size(width)


def top_k_in_batches(
    scores_of: Callable[[Rows], Float],
    n: int,
    width: int,
    k: int,
    *,
    kernels: Kernels,
    filters: Filters,
    threads: int | None,
) -> TopK:
    """Lists of ``n`` users; ``scores_of`` gives (len(rows), n_items) for some of 0 ... n - 1.

    ``width`` is what a user needs: the floats of its scores and of all that is computed on the way. Minus infinity is
    never listed.
    """
    size, parts = _size(width), []
    for begin in range(0, n, size):
        rows = np.arange(begin, min(n, begin + size), dtype=np.int32)
        parts.append(kernels.select_top_k(scores_of(rows), k, filters=filters.take(rows), threads=threads))
    return TopK.stacked(parts)


def scores_in_batches(scores_of: Callable[[Rows], Float], users: Rows, items: Rows, width: int) -> Float:
    """Score of each (user, item) pair; ``scores_of`` gives (len(rows), n_items) for some users."""
    asked, which = np.unique(users, return_inverse=True)
    order = np.argsort(which, kind="stable")
    ends = np.searchsorted(which[order], np.arange(len(asked) + 1))
    size, scores = _size(width), np.empty(len(users), np.float32)
    for begin in range(0, len(asked), size):
        end = min(len(asked), begin + size)
        pairs = order[ends[begin] : ends[end]]
        scores[pairs] = scores_of(asked[begin:end])[which[pairs] - begin, items[pairs]]
    return scores
