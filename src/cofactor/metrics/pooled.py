"""Metrics of all users together, a share of everything that there was to find."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["pooled_recall"]


def pooled_recall(n_found: int, n_relevant: NDArray[np.integer], k: int) -> float:
    r"""Share of the relevant items, all users together, that k places a user could hold.

    .. math:: \sum_u h_u \Big/ \sum_u \min(k, |R_u|)

    The recall of the OTTO competition (``otto-de/recsys-dataset``). A user with many relevant items weighs more than
    one with few, unlike in the mean of ``truncated_recall``. NaN where there is nothing to find.

    Parameters
    ----------
    n_found : int
        Relevant items among the first k places, of all users.
    n_relevant : (n_users,) integer
        Number of relevant items of each user.
    k : int
    """
    possible = int(np.minimum(n_relevant, k).sum())
    return n_found / possible if possible else float("nan")
