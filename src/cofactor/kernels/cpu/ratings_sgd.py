"""Stochastic gradient descent on the squared error of ratings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cofactor.kernels import native
from cofactor.system.threads import resolve_threads

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cofactor.kernels.arguments import RatingSide, RatingStep
    from cofactor.kernels.arrays import Rows
    from cofactor.kernels.csr import CSR

__all__ = ["rating_blocks", "ratings_sgd_epoch"]

_MOST_BLOCKS = 16
_LEAST = 1 << 15  # ratings of a pair of blocks, on average: with fewer, users and items are fetched for few of them


def rating_blocks(ratings: CSR) -> tuple[Rows, Rows]:
    """Where blocks of users, and twice as many of items, with about as many ratings each begin and end.

    They depend on the ratings alone, so that results do not depend on the number of threads.
    """
    blocks = 1
    while blocks < _MOST_BLOCKS and ratings.nnz >= (2 * blocks) ** 2 * _LEAST:
        blocks *= 2

    def cut(ends: NDArray[np.int64], n: int, parts: int) -> Rows:
        shares = np.arange(1, parts) * (ratings.nnz / parts)
        return np.concatenate([[0], np.searchsorted(ends, shares), [n]]).astype(np.int32)

    of_items = np.cumsum(np.bincount(ratings.indices, minlength=ratings.n_columns))
    return cut(ratings.indptr[1:], ratings.n_rows, blocks), cut(of_items, ratings.n_columns, 2 * blocks)


def ratings_sgd_epoch(
    ratings: CSR,
    users: RatingSide,
    items: RatingSide,
    step: RatingStep,
    blocks: tuple[Rows, Rows],
    *,
    shift: int = 0,
    update_items: bool = True,
    threads: int | None = None,
) -> float:
    """Take a step for every rating once: the sum of squared errors, each before its step.

    The loss of a rating is half of e² + l (s_u |p|² + s_i |q|²) + l_b (s_u b_u² + s_i b_i²), e = r - b_u - b_i - p . q,
    with the shrinkages s of its user and its item.

    Parameters
    ----------
    ratings : CSR (n_users, n_items)
    users, items : RatingSide
        Changed in place; items only with ``update_items``. Without, users do not depend on each other.
    step : RatingStep
    blocks : (n_blocks + 1,) int32 of users, and of items
        See :func:`rating_blocks`.
    shift : int
        The pair of blocks of items that the first block of users begins with; the second begins with the next one.
    """
    return native.lib.ratings_sgd_epoch(
        ratings.indptr, ratings.indices, ratings.values, *users, *items, *blocks, *step,
        shift % (len(blocks[0]) - 1), update_items, resolve_threads(threads),
    )  # fmt: skip
