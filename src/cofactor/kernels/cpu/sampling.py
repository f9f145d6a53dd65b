"""Negative items, drawn many at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cofactor.kernels import native
from cofactor.kernels.arguments import optional_csr
from cofactor.system.threads import resolve_threads

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cofactor.kernels.arrays import Float, Rows
    from cofactor.kernels.csr import CSR

__all__ = ["alias_table", "sample_negatives"]


def alias_table(weights: NDArray[np.float64]) -> tuple[Float, Rows]:
    """What draws items with probabilities in proportion to their weights at O(1) each (Vose 1991); O(n_items).

    Parameters
    ----------
    weights : (n_items,) float64
        At least 0, their sum positive and finite.

    Returns
    -------
    keep : (n_items,) float32
        With which probability a place, drawn uniformly, gives its own item.
    alias : (n_items,) int32
        The item it gives else.
    """
    keep, alias = np.empty(len(weights), np.float32), np.empty(len(weights), np.int32)
    native.lib.alias_table(weights, keep, alias)
    return keep, alias


def sample_negatives(
    users: Rows,
    n: int,
    shape: tuple[int, int],
    *,
    seen: CSR | None = None,
    alias: tuple[Float, Rows] | None = None,
    dislikes: CSR | None = None,
    dislike_share: float = 0.0,
    seed: int = 0,
    first: int = 0,
    threads: int | None = None,
) -> Rows:
    """``n`` negative items for every user, with repeats: (len(users), n) int32, -1 where a user has seen everything.

    O(log history) a negative. The negatives of ``users[k]`` are those of stream ``first + k`` of the seed: the same
    whatever the batches and the threads.

    Parameters
    ----------
    users : (n_requests,) int32
        Rows of users, repeats allowed.
    n : int
    shape : (n_users, n_items)
    seen : CSR (n_users, n_items), optional
        Items that are never drawn.
    alias : arrays of :func:`alias_table`, optional
        For draws in proportion to weights; uniform without it. Where 64 draws in a row were seen the item is a uniform
        one of the unseen.
    dislikes : CSR (n_users, n_items), optional
        Items of which a user's negative is one with probability ``dislike_share``, and always where all are seen.
    dislike_share : float
    seed, first : int
        Below 2^64.
    """
    out = np.empty((len(users), n), np.int32)
    keep, aliases = alias or (None, None)
    native.lib.sample_negatives(
        users, *shape, *optional_csr(seen)[:2], *optional_csr(dislikes)[:2], dislike_share, keep, aliases, seed, first,
        out, resolve_threads(threads),
    )  # fmt: skip
    return out
