"""Negative items for training a model of your own.

>>> import cofactor as cf
>>> x = cf.datasets.synthetic(100, 50, 1_000, seed=0)
>>> cf.sampling.negatives(x, [0, 0, 7], 4).shape
(3, 4)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from cofactor.checks import check_at_least, check_choice, check_type
from cofactor.data.ids import row_numbers
from cofactor.data.interactions import Interactions
from cofactor.errors import ParameterError
from cofactor.kernels import on

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from cofactor.kernels.arrays import Rows

__all__ = ["negatives"]


def negatives(
    interactions: Interactions,
    users: ArrayLike,
    n: int,
    *,
    sampler: Literal["exact", "uniform", "popularity"] = "exact",
    power: float = 0.75,
    seed: int = 0,
    first: int = 0,
    threads: int | None = None,
) -> Rows:
    """Draw ``n`` items for every user, with repeats: rows of items, (len(users), n) int32.

    Some 10 to 40 million a second and thread. The items of ``users[k]`` follow from ``seed`` and ``first + k`` alone,
    so that batches, each told where it begins, give what one call for all of them gives.

    Parameters
    ----------
    interactions : Interactions
    users : (m,) integers
        Rows of users, repeats allowed: ``interactions.user_items.row_index()`` for one draw an interaction.
    n : int
    sampler : "exact", "uniform" or "popularity"
        Items that the user has no interaction with, each as likely, -1 where there are none; any items, unchecked; or
        any items in proportion to their number of users to the ``power``, unchecked.
    power : float
        At least 0; of "popularity".
    seed, first : int
        From 0, below 2^64.
    threads : int, optional

    Raises
    ------
    ParameterError
        A user is no row of the interactions, or another parameter is not allowed.
    """
    check_type("interactions", interactions, Interactions, "Interactions")
    check_at_least("n", n, 0, whole=True)
    check_choice("sampler", sampler, ("exact", "uniform", "popularity"))
    check_at_least("power", power, 0)
    for name, value in (("seed", seed), ("first", first)):
        check_at_least(name, value, 0, whole=True)
        if value >= 2**64:
            raise ParameterError(f"{name} must be below 2^64, got {value}")
    x = interactions.user_items
    rows = row_numbers("users", users, x.n_rows)
    kernels, alias = on("cpu"), None
    if sampler == "popularity" and x.nnz:
        counts = np.bincount(x.indices, minlength=x.n_columns)
        alias = kernels.alias_table(counts.astype(np.float64) ** power)
    return kernels.sample_negatives(
        rows, n, x.shape, seen=x if sampler == "exact" else None, alias=alias,
        seed=seed, first=first, threads=threads,
    )  # fmt: skip
