"""Stochastic gradient descent on ratings of users who are told by what they rated, too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cofactor.kernels import native
from cofactor.system.threads import resolve_threads

if TYPE_CHECKING:
    from cofactor.kernels.arguments import RatingSide, RatingStep
    from cofactor.kernels.arrays import Float, Rows
    from cofactor.kernels.csr import CSR

__all__ = ["ratings_implicit_epoch"]


def ratings_implicit_epoch(
    ratings: CSR,
    users: RatingSide,
    items: RatingSide,
    implicit: Float,
    step: RatingStep,
    *,
    blocks: tuple[Rows, Rows],
    batch: int = 4096,
    threads: int | None = None,
) -> float:
    """Take a step for every rating once, user after user: the sum of squared errors, each before its step.

    The loss of a rating is half of e² + l (s_u (|p|² + sum_j |y_j|²) + s_i |q|²) + l_b (s_u b_u² + s_i b_i²) with
    e = r - b_u - b_i - (p + n^-1/2 sum_j y_j) . q, where the n items j are all that the user rated, and s are the
    shrinkages of user and item.

    Parameters
    ----------
    ratings : CSR (n_users, n_items)
    users, items : RatingSide
        Changed in place.
    implicit : (n_items, width) float32
        The vectors y, changed in place.
    step : RatingStep
    blocks : (n_blocks + 1,) int32 of users, and of items
        Items of different blocks are worked on side by side; see ``rating_blocks``.
    batch : int
        Users are taken together until they have so many ratings: they read items as they were before their batch.
    """
    return native.lib.ratings_implicit_epoch(
        ratings.indptr, ratings.indices, ratings.values, *users, *items, implicit, *blocks, *step,
        batch, resolve_threads(threads),
    )  # fmt: skip
