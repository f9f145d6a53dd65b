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

_MOST_BLOCKS, _ENOUGH = 32, 8  # with so many, four threads have work
_LEAST_RUN = 8  # ratings of a user in a block of items, on average, where there are more blocks than are enough
_LEAST = 1 << 13  # ratings of two blocks that meet, on average: with fewer, users are fetched for few of them


def rating_blocks(of_users: NDArray[np.int64], of_items: NDArray[np.int64]) -> tuple[Rows, Rows]:
    """Where blocks of users, and as many of items, with about as many ratings each begin and end; an even number.

    They depend on the numbers of ratings alone, so that results do not depend on the number of threads.
    """
    blocks, n = 2, int(of_users.sum())
    while blocks < _MOST_BLOCKS and n >= (2 * blocks) ** 2 * _LEAST:
        if blocks >= _ENOUGH and n < 2 * blocks * len(of_users) * _LEAST_RUN:
            break
        blocks *= 2

    def cut(counts: NDArray[np.int64]) -> Rows:
        ends = np.searchsorted(np.cumsum(counts), np.arange(1, blocks) * (n / blocks))
        return np.concatenate([[0], ends, [len(counts)]]).astype(np.int32)

    return cut(of_users), cut(of_items)


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
        The block of items that the first block of users begins with; the second begins with the next one.
    """
    return native.lib.ratings_sgd_epoch(
        ratings.indptr, ratings.indices, ratings.values, *users, *items, *blocks, *step,
        shift % (len(blocks[0]) - 1), update_items, resolve_threads(threads),
    )  # fmt: skip
